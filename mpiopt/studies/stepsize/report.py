"""What a faithful DLAS-R-FTC shows on these data, judged on the outcomes.

The facts and REFERENCE are those of our own reconstruction; the original's figures are not public.

The picture of the study: suboptimality over iterations, a panel for each spread of one graph.

What the study prints: iterations and messages of every cell, the verdicts.

The page of the study: paper 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpiopt.results.html.charts import Chart, curve
from mpiopt.studies.drawing import load_pyplot
from mpiopt.studies.files import aligned
from mpiopt.studies.page import Story
from mpiopt.studies.stepsize.job import StepSizeCell, StepSizeStudy, rule_of, tuning_of
from mpiopt.studies.stepsize.simulation import StepSizeOutcome
from mpiopt.studies.verdicts import Fact, Item

ROOM = 1.2  # iterations within which two implementations count as the same
SAFE = ("harmonic", "min", "global")
# Iterations to 1e-9 on 10 ranks with the default data, measured before this program existed: relative to F after the
# first step instead of F(0), the spread 3.98 instead of 4. 0: diverges; None: stalls.
METHODS = ("mean", "mean[alpha=0.25]", "harmonic", "min", "global", "fixed", "none")
REFERENCE: dict[float, tuple[int | None, ...]] = {
    1.0: (80, 98, 87, 85, 88, 209, None),
    4.0: (65, 69, 63, 72, 66, 151, None),
    100.0: (0, 99, 79, 122, 77, 203, None),
    1e4: (0, 0, 68, 152, 70, 170, None),
}


def judge(found: Sequence[StepSizeOutcome], study: StepSizeStudy) -> list[Fact]:
    """Judge all facts."""
    return [
        Fact(
            "a", "mean with α = 1/2 diverges from a spread of 100 on, and converges below", list(of_the_mean(found))
        ),
        Fact("b", "mean diverges where α is twice what is safe, and converges at half of it", list(of_alpha(found))),
        Fact("c", "harmonic, min and global reach the tolerance at every spread", list(safe(found))),
        Fact("d", "harmonic and global need at most 0.6 x the iterations of fixed steps 1/L", list(faster(found))),
        Fact("e", "without coordination the ranks stall above the tolerance", list(stalls(found, study))),
        Fact("f", "finite-field: the same iterates on every graph", list(alike(found, by_graph))),
        Fact("g", "merged and unmerged form: the same iterations, within one", list(alike(found, by_form))),
        Fact("h", f"10 ranks: the iterations of the reference, within {ROOM:g} x", list(as_before(found, study))),
    ]


def shown(o: StepSizeOutcome) -> str:
    """Say how a run ended."""
    if o.reached:
        return str(o.iterations)
    return "diverges" if o.diverged else f"only {o.gaps[-1]:.0e}"


def named(o: StepSizeOutcome) -> str:
    """Name a run."""
    return f"{place(o.cell)} {o.cell.method}: {shown(o)}"


def place(c: StepSizeCell) -> str:
    """Name where a cell is."""
    return f"n={c.ranks} {c.topology} spread {c.spread:g}"


def of(found: Iterable[StepSizeOutcome], *rules: str) -> list[StepSizeOutcome]:
    """Give the outcomes with one of these rules."""
    return [o for o in found if rule_of(o.cell.method, 1.0).name in rules]


def of_the_mean(found: Sequence[StepSizeOutcome]) -> Iterable[Item]:
    """Fact a."""
    for o in found:
        if o.cell.method == "mean":
            yield Item(o.diverged if o.cell.spread >= 100 else o.reached, named(o))


def of_alpha(found: Sequence[StepSizeOutcome]) -> Iterable[Item]:
    """Fact b; between the two it depends on the directions of the curvatures, and is not judged."""
    for o in of(found, "mean"):
        times = tuning_of(o.cell.method).alpha / o.safe_alpha
        if times >= 2.0 or times <= 0.5:
            yield Item(o.diverged if times > 1.0 else o.reached, f"{named(o)}, α is {times:.2g} x what is safe")


def safe(found: Sequence[StepSizeOutcome]) -> Iterable[Item]:
    """Fact c."""
    for o in of(found, *SAFE):
        yield Item(o.reached, named(o))


def faster(found: Sequence[StepSizeOutcome]) -> Iterable[Item]:
    """Fact d."""
    fixed = {o.cell: o for o in found if o.cell.method == "fixed"}
    for o in found:
        other = fixed.get(o.cell._replace(method="fixed"))
        if o.cell.method in ("harmonic", "global") and o.reached and other and other.reached:
            ratio = o.iterations / other.iterations
            yield Item(ratio <= 0.6, f"{named(o)}, {ratio:.2f} x")


def stalls(found: Sequence[StepSizeOutcome], study: StepSizeStudy) -> Iterable[Item]:
    """Fact e: the last tenth of the run gains less than a factor of two."""
    for o in of(found, "none"):
        before = o.gaps[-1 - len(o.gaps) // 10]
        yield Item(not o.reached and not o.diverged and o.gaps[-1] > max(study.tol, 0.5 * before), named(o))


def by_graph(c: StepSizeCell) -> StepSizeCell:
    """Give the cell without its graph."""
    return c._replace(topology="")


def by_form(c: StepSizeCell) -> StepSizeCell:
    """Give the cell without its form."""
    return c._replace(form="")


def alike(found: Sequence[StepSizeOutcome], rest: object) -> Iterable[Item]:
    """Facts f and g: runs that differ in one place only."""
    groups: dict[StepSizeCell, list[StepSizeOutcome]] = {}
    for o in found:
        if o.cell.coordinator == "finite-field":
            groups.setdefault(rest(o.cell), []).append(o)  # type: ignore[operator]
    for cell, group in groups.items():
        if len(group) > 1:
            yield same(cell, group)


def same(cell: StepSizeCell, group: Sequence[StepSizeOutcome]) -> Item:
    """Compare runs that should be the same: on graphs to the last bit, of forms by the iterations."""
    first, ends = group[0], ", ".join(dict.fromkeys(shown(o) for o in group))
    what = f"{len(group)} runs, n={cell.ranks} spread {cell.spread:g} {cell.method}: {ends}"
    if not cell.form:
        near = all(abs(o.iterations - first.iterations) <= 1 for o in group)
        return Item(near or first.diverged, what)
    return Item(all(o.gaps == first.gaps for o in group), what)


def as_before(found: Sequence[StepSizeOutcome], study: StepSizeStudy) -> Iterable[Item]:
    """Fact h, where the data are those of the reference."""
    plain = StepSizeStudy(cells=study.cells)
    same_data = all(getattr(study, n) == getattr(plain, n) for n in ("rows", "features", "condition", "seed", "tol"))
    for o in found if same_data else ():
        if o.cell.ranks == 10 and o.cell.coordinator == "finite-field" and o.cell.method in METHODS:
            before = REFERENCE.get(o.cell.spread, (None,) * len(METHODS))[METHODS.index(o.cell.method)]
            if before is not None:
                yield compared(o, before)


def compared(o: StepSizeOutcome, before: int) -> Item:
    """Compare a run with the reference."""
    if before == 0:
        return Item(o.diverged, f"{named(o)}, reference diverges")
    near = o.reached and before / ROOM <= o.iterations <= before * ROOM
    return Item(near, f"{named(o)}, reference {before}")


def draw(found: Sequence[StepSizeOutcome], path: str) -> None:
    """Draw the methods on the graph that has most cells.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    pyplot = load_pyplot()

    chosen = largest(found)
    spreads = sorted({o.cell.spread for o in chosen})
    methods = list(dict.fromkeys(o.cell.method for o in chosen))
    figure, panels = pyplot.subplots(
        1, len(spreads), figsize=(4 * len(spreads), 4), sharey=True, layout="constrained", squeeze=False
    )
    for axes, spread in zip(panels.flat, spreads, strict=True):
        for o in chosen:
            if o.cell.spread == spread:
                shown = [max(gap, 1e-16) for gap in o.gaps[:400]]
                axes.semilogy(shown, color=f"C{methods.index(o.cell.method)}", label=o.cell.method, linewidth=1.3)
        axes.set(title=f"L_max/L_min = {spread:g}", xlabel="iterations", ylim=(1e-10, 1e3))
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("(F − F*) / (F(0) − F*)")
    panels[0, 0].legend(fontsize="small")
    cell = chosen[0].cell
    figure.suptitle(f"{cell.ranks} ranks, {cell.topology}, {cell.coordinator}")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def largest(found: Sequence[StepSizeOutcome]) -> list[StepSizeOutcome]:
    """Give the outcomes of the graph, coordinator and form with most of them."""
    groups: dict[tuple[object, ...], list[StepSizeOutcome]] = {}
    for o in found:
        groups.setdefault((o.cell.ranks, o.cell.topology, o.cell.coordinator, o.cell.form), []).append(o)
    return max(groups.values(), key=len)


def table(found: Sequence[StepSizeOutcome]) -> str:
    """Give one line for each place, one column for each method: iterations/messages in thousands, or how it ended."""
    methods = list(dict.fromkeys(o.cell.method for o in found))
    by_cell = {o.cell: o for o in found}
    lines = [["n", "graph", "coordinator", "form", "spread", *methods]]
    for cell in dict.fromkeys(o.cell._replace(method="") for o in found):
        here = [by_cell.get(cell._replace(method=m)) for m in methods]
        words = [str(cell.ranks), cell.topology, cell.coordinator, cell.form, f"{cell.spread:g}"]
        lines.append([*words, *(entry(o) if o else "" for o in here)])
    return aligned(lines)


def entry(o: StepSizeOutcome) -> str:
    """Give iterations/messages of a run."""
    return f"{o.iterations}/{o.messages / 1000:.1f}k" if o.reached else shown(o)


def facts_text(facts: Sequence[Fact]) -> str:
    """Give each fact with its verdict, how many comparisons hold, and those that do not."""
    lines = []
    for fact in facts:
        held = sum(item.holds for item in fact.items)
        lines.append(f"({fact.letter}) {fact.verdict:<8} {fact.claim} ({held} of {len(fact.items)})")
        lines += [f"      x {item.text}" for item in fact.items if not item.holds]
    return "\n".join(lines)


PAPER = (
    "A. I. Rikos, N. Bastianello, T. Charalambous and K. H. Johansson, distributed learning with adaptive step sizes "
    "and finite-time coordination (DLAS-R-FTC), arXiv:2508.05887, CDC (2025)"
)
CORRECTED = (
    "The mean of the ranks' steps, the paper's rule, is not safe: it diverges where the ranks' smoothness differs by "
    "100 or more. The harmonic mean needs no constant and is as fast as the curvature of the mean gradient.",
    "With updates that are only local each rank would go to its own optimum: models are coordinated as well, as in "
    "the authors' sibling algorithms.",
    "The textbook form of finite-time coordination loses its digits beyond 10 ranks in float64; in a finite field it "
    "is exact.",
)
UNKNOWN = (
    "Of the paper the abstract and the beginning could be had, and the update equations at second hand: sizes, "
    "constants, theorem and figures of the original are not known; the facts and the reference are our "
    "reconstruction.",
)


def story(job: StepSizeStudy, found: Sequence[StepSizeOutcome]) -> Story:
    """Give the page's words, curves and tables."""
    chosen = largest(found)
    methods = list(dict.fromkeys(o.cell.method for o in chosen))
    charts = []
    for spread in sorted({o.cell.spread for o in chosen}):
        here = [o for o in chosen if o.cell.spread == spread]
        parts = [curve(o.cell.method, range(len(o.gaps)), shown_gaps(o), methods.index(o.cell.method)) for o in here]
        charts.append(Chart(f"smoothness differs by {spread:g}", "iterations", "(F − F*) / (F(0) − F*)", parts))
    cell = chosen[0].cell
    return Story(
        "Which common step size, and what does agreeing on it cost?",
        PAPER,
        "step sizes that ranks adapt each by itself must be made one by finite-time coordination; then the optimum "
        "is reached exactly, and sooner than with fixed or with uncoordinated steps.",
        f"Linear regression on ranks whose smoothness L differs by the spread; curves of {cell.ranks} ranks on the "
        f"graph {cell.topology}, coordinated by {cell.coordinator}.",
        CORRECTED,
        UNKNOWN,
        charts,
        [("iterations/messages", table(found))],
    )


def shown_gaps(o: StepSizeOutcome) -> list[float]:
    """Give the gaps down to rounding and up to where a run is lost."""
    return [gap if 1e-16 < gap < 1e3 else float("nan") for gap in o.gaps]
