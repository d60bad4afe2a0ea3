"""The facts that a faithful dSAGA shows on these data, judged on the outcomes of a study.

They are those of our own reconstruction; the original's figures are not public (`docs/explanation/design.md`).

The picture of a study: suboptimality over rounds, a panel for each kind of shards and each H.

What a study prints: epochs and rounds of every cell, the fitted rates, the verdicts.

The page of the study: paper 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpiopt.results.html.charts import Chart, curve
from mpiopt.studies.drawing import load_pyplot
from mpiopt.studies.files import aligned
from mpiopt.studies.page import Story
from mpiopt.studies.saga_facts.cell import SagaOutcome
from mpiopt.studies.saga_facts.job import METHODS, SHARDS, SagaCell, SagaStudy
from mpiopt.studies.verdicts import Fact, Item

NEAR = 1.2  # epochs, in terms of SAGA's, that count as the same
FEW_MORE = 1.5
LARGE = ("n/4", "n", "4n")


class Outcomes:
    """The outcomes by cell; what was not run is None."""

    def __init__(self, found: Iterable[SagaOutcome]) -> None:
        self.by_cell = {outcome.cell: outcome for outcome in found}
        self.ranks = sorted({cell.ranks for cell in self.by_cell} - {1})

    def at(self, shards: str, ranks: int, steps: str, method: str = "B") -> SagaOutcome | None:
        """Give the outcome of a cell."""
        return self.by_cell.get(SagaCell(shards, ranks, steps, method))

    def saga(self) -> float | None:
        """Give the epochs of SAGA: one rank, a quarter of an epoch between two averages, which change nothing."""
        found = self.at("shuffled", 1, "n/4")
        return found.last.epochs if found and found.reached else None


def judge(found: Outcomes) -> list[Fact]:
    """Judge all facts."""
    facts = [
        Fact("a", "H <= 10 costs at most 20 % more epochs than SAGA, K <= 16", list(small_rounds(found))),
        Fact(
            "b", "H = n/4, iid: 100 to 1000 times fewer rounds than H = 1, at most 1.5 x epochs", list(rounds(found))
        ),
        Fact("c", "iid: H = n costs 2 to 4 x SAGA's epochs, H = 4n breaks", list(large_rounds(found))),
        Fact("d", "E stalls for H >= n/4: never reaches the tolerance", list(no_correction(found))),
        Fact("e1", "iid, H <= n/4: A, B, D need the same epochs within 20 %", list(alike(found))),
        Fact("e2", "H = n: B and D are better than A", list(fresh_is_better(found))),
        Fact("e3", "sorted shards: C does better than B", list(averaged(found))),
        Fact("e4", "C needs a step about K times as long as B", list(longer_steps(found))),
    ]
    cures = [
        ("refresh", "filling the table anew at w̄"),
        ("chosen", "the plain form as run"),
        ("metric", "the metric"),
    ]
    return facts + [
        Fact(f"f{i}", f"{what} reaches the tolerance where B does not", list(cured(found, method)))
        for i, (method, what) in enumerate(cures, 1)
    ]


def shown(o: SagaOutcome) -> str:
    """Give epochs/rounds, or the gap where the tolerance was not reached."""
    return f"{o.last.epochs:.1f}/{o.last.rounds}" if o.reached else f"fails {o.last.gap:.0e}"


def effort(o: SagaOutcome) -> tuple[bool, float]:
    """Give what is less for the better outcome."""
    return (False, o.last.epochs) if o.reached else (True, o.last.gap)


def small_rounds(found: Outcomes) -> Iterable[Item]:
    """Fact a."""
    saga = found.saga()
    for cell, o in found.by_cell.items():
        if saga and cell.method == "B" and o.visits <= 10 and 1 < cell.ranks <= 16:
            ratio = o.last.epochs / saga
            yield Item(o.reached and ratio <= NEAR, f"{cell.shards} K={cell.ranks} H={o.visits}: {ratio:.2f} x")


def rounds(found: Outcomes) -> Iterable[Item]:
    """Fact b; where H = 1 was not run, its rounds are those of SAGA's epochs, one for each of n rows."""
    saga = found.saga()
    for k in found.ranks:
        o, one = found.at("shuffled", k, "n/4"), found.at("shuffled", k, "1")
        if o and saga:
            every = one.last.rounds if one and one.reached else saga * 4 * o.visits
            fewer, more = every / o.last.rounds, o.last.epochs / saga
            holds = o.reached and 100 <= fewer <= 1000 and more <= FEW_MORE
            how = "" if one else " (rounds of H=1 not run: SAGA's epochs x n)"
            yield Item(holds, f"K={k} H={o.visits}: {fewer:.0f} x fewer, {more:.2f} x epochs{how}")


def large_rounds(found: Outcomes) -> Iterable[Item]:
    """Fact c."""
    saga = found.saga()
    for k in found.ranks:
        whole, four = found.at("shuffled", k, "n"), found.at("shuffled", k, "4n")
        if whole and saga:
            more = whole.last.epochs / saga
            yield Item(whole.reached and 2.0 <= more <= 4.0, f"K={k} H=n: {more:.2f} x")
        if four:
            yield Item(not four.reached, f"K={k} H=4n: {shown(four)}")


def no_correction(found: Outcomes) -> Iterable[Item]:
    """Fact d; the lowest gap that any step size ever saw."""
    for shards, k, steps, e in places(found, "E"):
        if steps in LARGE:
            yield Item(not e.reached, f"{shards} K={k} H={steps}: {e.lowest:.0e}")


def alike(found: Outcomes) -> Iterable[Item]:
    """Fact e1."""
    for k in found.ranks:
        for steps in ("1", "10", "n/4"):
            some = [found.at("shuffled", k, steps, v) for v in "ABD"]
            epochs = [o.last.epochs if o.reached else float("inf") for o in some if o]
            if len(epochs) == 3:
                ratio = max(epochs) / min(epochs)
                yield Item(ratio <= NEAR, f"K={k} H={steps}: {', '.join(f'{e:.1f}' for e in epochs)}")


def fresh_is_better(found: Outcomes) -> Iterable[Item]:
    """Fact e2."""
    for shards, k, steps, a in places(found, "A"):
        b, d = (found.at(shards, k, steps, v) for v in "BD")
        if steps == "n" and b and d:
            worse = max(effort(b), effort(d))
            yield Item(worse <= effort(a), f"{shards} K={k}: A {shown(a)}, B {shown(b)}, D {shown(d)}")


def averaged(found: Outcomes) -> Iterable[Item]:
    """Fact e3."""
    for shards, k, steps, c in places(found, "C"):
        b = found.at(shards, k, steps)
        if shards == SHARDS[1] and b and (b.reached or c.reached or steps != "4n"):
            yield Item(effort(c) <= effort(b), f"K={k} H={steps}: C {shown(c)}, B {shown(b)}")


def longer_steps(found: Outcomes) -> Iterable[Item]:
    """Fact e4, where both reach the tolerance."""
    for shards, k, steps, c in places(found, "C"):
        b = found.at(shards, k, steps)
        if b and b.reached and c.reached:
            ratio = c.multiple / b.multiple
            yield Item(k / 2 <= ratio <= 2 * k, f"{shards} K={k} H={steps}: {ratio:g} x")


def cured(found: Outcomes, method: str) -> Iterable[Item]:
    """Facts f."""
    for shards, k, steps, o in places(found, method):
        b = found.at(shards, k, steps)
        if b and not b.reached:
            yield Item(o.reached, f"{shards} K={k} H={steps}: {shown(o)}, R² {o.rate.r2:.2f} (B {shown(b)})")


def places(found: Outcomes, method: str) -> Iterable[tuple[str, int, str, SagaOutcome]]:
    """Give the cells of a method on several ranks."""
    for cell, outcome in found.by_cell.items():
        if cell.method == method and cell.ranks > 1:
            yield cell.shards, cell.ranks, cell.local_steps, outcome


DRAWN_STEPS = ("n/4", "n")


def draw(found: Outcomes, path: str) -> None:
    """Draw the methods on the largest number of ranks with H = n/4 and H = n.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    pyplot = load_pyplot()

    ranks = max(found.ranks, default=1)
    figure, panels = pyplot.subplots(2, 2, figsize=(11, 8), sharey=True, layout="constrained")
    for axes, (shards, steps) in zip(panels.flat, [(s, h) for s in SHARDS for h in DRAWN_STEPS], strict=True):
        for i, method in enumerate(METHODS):
            outcome = found.at(shards, ranks, steps, method)
            if outcome is not None:
                draw_curve(axes, outcome, f"C{i}")
        axes.set(title=f"{shards} shards, {ranks} ranks, H = {steps}", xlabel="rounds", ylim=(1e-9, 3))
        axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel("(F − F*) / (F(0) − F*)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if handles:
        panels[0, 0].legend(handles, labels, fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def draw_curve(axes: object, outcome: SagaOutcome, color: str) -> None:
    """Draw one run."""
    points = [p for p in outcome.trace if p.gap > 0.0]
    axes.semilogy(  # type: ignore[attr-defined]
        [p.rounds for p in points], [p.gap for p in points], color=color, label=outcome.cell.method, linewidth=1.3
    )


# Epochs / rounds of B that the reconstruction was measured with before this program existed (numpy and numba, one
# process): N = 8192, d = 32, l2 = 1/N, the same data, other random orders. "fails": not within 60 epochs.
STEPS = ("1", "10", "n/4", "n", "4n")
REFERENCE = {
    ("shuffled", 1): ("15.0", "15.0", "15.0", "15.0", "16.0"),
    ("shuffled", 4): ("14.5/29696", "13.5/2765", "14.5/58", "31/31", "fails"),
    ("shuffled", 16): ("13.0/6656", "14.5/743", "18.5/74", "34/34", "fails"),
    ("shuffled", 64): ("30.2/3872", "28.8/368", "23.5/94", "47/47", "fails"),
    ("sorted-by-label", 4): ("14.5", "13.0", "22.2", "41", "fails"),
    ("sorted-by-label", 16): ("13.2", "14.5", "32.2", "fails 2e-08", "fails"),
    ("sorted-by-label", 64): ("30.2", "24.5", "52.5", "fails", "fails"),
}
RATED = ("B", "refresh", "chosen", "metric")


def epochs_table(found: Outcomes, study: SagaStudy) -> str:
    """Give one line for each place of the grid, one column for each method: epochs/rounds or the gap at the end."""
    methods = [m for m in METHODS if any(cell.method == m for cell in found.by_cell)]
    lines = [["shards", "K", "n", "H", "reference B", *methods]]
    for shards, k, steps in dict.fromkeys(cell[:3] for cell in found.by_cell):
        cells = [found.at(shards, k, steps, m) for m in methods]
        reference = REFERENCE.get((shards, k), ())
        known = reference[STEPS.index(steps)] if reference and steps in STEPS else ""
        lines.append([shards, str(k), str(study.rows // k), steps, known, *(shown(o) if o else "" for o in cells)])
    return aligned(lines)


def rates_table(found: Outcomes) -> str:
    """Give the linear rates of B and of its cures: the line through ln gap over epochs, and the best step."""
    lines = [["shards", "K", "H", "method", "slope per epoch", "std err", "R²", "step, 1/(3L)", "epochs of repeats"]]
    for cell, o in found.by_cell.items():
        if cell.method in RATED:
            slope, error, r2 = o.rate
            step = f"{o.multiple:g}" if o.multiple else "chosen"
            spread = f"{o.spread[0]:.1f} … {o.spread[1]:.1f}" if o.reached else ""
            place = [cell.shards, str(cell.ranks), cell.local_steps, cell.method]
            lines.append([*place, f"{slope:.3f}", f"{error:.3f}", f"{r2:.3f}", step, spread])
    return aligned(lines)


def facts_text(facts: Sequence[Fact]) -> str:
    """Give each fact with its verdict and, below it, what it rests on."""
    lines = []
    for fact in facts:
        lines.append(f"({fact.letter}) {fact.verdict:<8} {fact.claim}")
        lines += [f"      {'  ' if item.holds else 'x '}{item.text}" for item in fact.items]
    return "\n".join(lines)


def one_line(o: SagaOutcome, seconds: float) -> str:
    """Give the progress line of a cell."""
    c = o.cell
    return f"{c.shards} K={c.ranks} H={c.local_steps} {c.method}: {shown(o)}  ({seconds:.1f} s)"


PAPER = (
    "C. Calauzènes and N. Le Roux, Distributed SAGA: Maintaining linear convergence rate with limited communication, "
    "arXiv:1705.10405 (2017)"
)
CORRECTED = (
    "C needs no steps about K times as long as B: its best step is 1 to 2 times B's, here and in the reference "
    "program.",
    "Where the table says that B fails, it is slow, not stuck: with 400 epochs it goes on along a straight line to "
    "1e-10; E (no correction) alone has a floor.",
    "Surrogates of unlike ranks pull apart on long rounds: the curvature of the whole, the metric, is the cure.",
)
UNKNOWN = (
    "Of the paper only the abstract and the beginning could be had: algorithm, theorem and experiments are our "
    "reconstruction (variants A to E), and so are the facts; nobody should take these for the original figures.",
    "Whether the original averages iterates, and the constant of its step size.",
)


def story(job: SagaStudy, found: Outcomes) -> Story:
    """Give the page's words, curves and tables."""
    ranks = max(found.ranks, default=1)
    charts = [chart(found, shards, ranks, steps) for shards in SHARDS for steps in ("n/4", "n", "4n")]
    return Story(
        "Distributed SAGA: a linear rate with few exchanges?",
        PAPER,
        "SAGA whose ranks exchange only from time to time keeps its linear rate, as long as each rank has enough "
        "rows.",
        f"Made-up logistic data, {job.rows} rows, the best of a grid of step sizes, epochs and rounds to {job.tol:g} "
        "of F(0) − F*. H is the number of local steps between two exchanges, K that of ranks, n the rows of one.",
        CORRECTED,
        UNKNOWN,
        [c for c in charts if c.parts],
        [("epochs/rounds", epochs_table(found, job)), ("linear rates", rates_table(found))],
    )


def chart(found: Outcomes, shards: str, ranks: int, steps: str) -> Chart:
    """Give the suboptimality of all methods over rounds at one place of the grid."""
    runs = [(method, i, found.at(shards, ranks, steps, method)) for i, method in enumerate(METHODS)]
    parts = [
        curve(method, [p.rounds for p in o.trace], [p.gap if p.gap < 10.0 else float("nan") for p in o.trace], i)
        for method, i, o in runs
        if o is not None
    ]
    return Chart(f"{shards}, K = {ranks}, H = {steps}", "rounds", "(F − F*) / (F(0) − F*)", parts)
