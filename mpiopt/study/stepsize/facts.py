"""What a faithful DLAS-R-FTC shows on these data, judged on the outcomes.

The facts and REFERENCE are those of our own reconstruction; the original's figures are not public.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpiopt.study.stepsize.job import Cell, Study, rule_of, tuning_of
from mpiopt.study.stepsize.simulation import Outcome
from mpiopt.study.verdicts import Fact, Item

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


def judge(found: Sequence[Outcome], study: Study) -> list[Fact]:
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


def shown(o: Outcome) -> str:
    """Say how a run ended."""
    if o.reached:
        return str(o.iterations)
    return "diverges" if o.diverged else f"only {o.gaps[-1]:.0e}"


def named(o: Outcome) -> str:
    """Name a run."""
    return f"{place(o.cell)} {o.cell.method}: {shown(o)}"


def place(c: Cell) -> str:
    """Name where a cell is."""
    return f"n={c.ranks} {c.topology} spread {c.spread:g}"


def of(found: Iterable[Outcome], *rules: str) -> list[Outcome]:
    """Give the outcomes with one of these rules."""
    return [o for o in found if rule_of(o.cell.method, 1.0).name in rules]


def of_the_mean(found: Sequence[Outcome]) -> Iterable[Item]:
    """Fact a."""
    for o in found:
        if o.cell.method == "mean":
            yield Item(o.diverged if o.cell.spread >= 100 else o.reached, named(o))


def of_alpha(found: Sequence[Outcome]) -> Iterable[Item]:
    """Fact b; between the two it depends on the directions of the curvatures, and is not judged."""
    for o in of(found, "mean"):
        times = tuning_of(o.cell.method).alpha / o.safe_alpha
        if times >= 2.0 or times <= 0.5:
            yield Item(o.diverged if times > 1.0 else o.reached, f"{named(o)}, α is {times:.2g} x what is safe")


def safe(found: Sequence[Outcome]) -> Iterable[Item]:
    """Fact c."""
    for o in of(found, *SAFE):
        yield Item(o.reached, named(o))


def faster(found: Sequence[Outcome]) -> Iterable[Item]:
    """Fact d."""
    fixed = {o.cell: o for o in found if o.cell.method == "fixed"}
    for o in found:
        other = fixed.get(o.cell._replace(method="fixed"))
        if o.cell.method in ("harmonic", "global") and o.reached and other and other.reached:
            ratio = o.iterations / other.iterations
            yield Item(ratio <= 0.6, f"{named(o)}, {ratio:.2f} x")


def stalls(found: Sequence[Outcome], study: Study) -> Iterable[Item]:
    """Fact e: the last tenth of the run gains less than a factor of two."""
    for o in of(found, "none"):
        before = o.gaps[-1 - len(o.gaps) // 10]
        yield Item(not o.reached and not o.diverged and o.gaps[-1] > max(study.tol, 0.5 * before), named(o))


def by_graph(c: Cell) -> Cell:
    """Give the cell without its graph."""
    return c._replace(topology="")


def by_form(c: Cell) -> Cell:
    """Give the cell without its form."""
    return c._replace(form="")


def alike(found: Sequence[Outcome], rest: object) -> Iterable[Item]:
    """Facts f and g: runs that differ in one place only."""
    groups: dict[Cell, list[Outcome]] = {}
    for o in found:
        if o.cell.coordinator == "finite-field":
            groups.setdefault(rest(o.cell), []).append(o)  # type: ignore[operator]
    for cell, group in groups.items():
        if len(group) > 1:
            yield same(cell, group)


def same(cell: Cell, group: Sequence[Outcome]) -> Item:
    """Compare runs that should be the same: on graphs to the last bit, of forms by the iterations."""
    first, ends = group[0], ", ".join(dict.fromkeys(shown(o) for o in group))
    what = f"{len(group)} runs, n={cell.ranks} spread {cell.spread:g} {cell.method}: {ends}"
    if not cell.form:
        near = all(abs(o.iterations - first.iterations) <= 1 for o in group)
        return Item(near or first.diverged, what)
    return Item(all(o.gaps == first.gaps for o in group), what)


def as_before(found: Sequence[Outcome], study: Study) -> Iterable[Item]:
    """Fact h, where the data are those of the reference."""
    plain = Study(cells=study.cells)
    same_data = all(getattr(study, n) == getattr(plain, n) for n in ("rows", "features", "condition", "seed", "tol"))
    for o in found if same_data else ():
        if o.cell.ranks == 10 and o.cell.coordinator == "finite-field" and o.cell.method in METHODS:
            before = REFERENCE.get(o.cell.spread, (None,) * len(METHODS))[METHODS.index(o.cell.method)]
            if before is not None:
                yield compared(o, before)


def compared(o: Outcome, before: int) -> Item:
    """Compare a run with the reference."""
    if before == 0:
        return Item(o.diverged, f"{named(o)}, reference diverges")
    near = o.reached and before / ROOM <= o.iterations <= before * ROOM
    return Item(near, f"{named(o)}, reference {before}")
