"""What the study prints: what every cell cost to each tolerance, and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpiopt.study.decentralised.cell import Outcome
from mpiopt.study.decentralised.job import Study
from mpiopt.study.files import aligned
from mpiopt.study.verdicts import Fact, Item

EXACT = ("graph-saga", "dlas", "gradient-tracking", "gt-saga", "push-saga")


def table(found: Sequence[Outcome], tol: float) -> str:
    """Give one line for each place, one column for each algorithm."""
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in found))
    by_cell = {o.cell: o for o in found}
    lines = [["n", "graph", "spread", *algorithms]]
    for place in dict.fromkeys(o.cell._replace(algorithm="") for o in found):
        here = [by_cell.get(place._replace(algorithm=a)) for a in algorithms]
        lines.append(
            [str(place.ranks), place.topology, f"{place.spread:g}", *(entry(o, tol) if o else "" for o in here)]
        )
    return aligned(lines)


def entry(o: Outcome, tol: float) -> str:
    """Give iterations/epochs/messages in thousands/MB of a run, or how it ended."""
    k = o.at(tol)
    if o.refused:
        return "refused"
    if k is None:
        return "diverges" if o.diverged else f"only {o.gaps[-1]:.0e}"
    return f"{k}/{o.epochs[k]:.0f}/{o.rounds[k] * o.edges / 1000:.1f}k/{o.megabytes[k]:.2f}"


def name(o: Outcome) -> str:
    """Give the algorithm without its options."""
    return o.cell.algorithm.partition("[")[0]


def judge(found: Sequence[Outcome], study: Study) -> list[Fact]:
    """Judge what theory says of these algorithms."""
    tol = min(study.tols)
    ran = [o for o in found if not o.refused]
    return [
        Fact(
            "a",
            f"{', '.join(EXACT)} reach {tol:g} at all ranks",
            [Item(o.at(tol) is not None, said(o, tol)) for o in ran if name(o) in EXACT],
        ),
        Fact(
            "b",
            "dgd with a constant step stays away from the optimum",
            [Item(stays(o, tol), said(o, tol)) for o in ran if name(o) == "dgd"],
        ),
        Fact("c", "graph-saga and dlas: the same iterates on every graph", list(alike(ran))),
        Fact(
            "d",
            "graph-saga needs the fewest iterations, each with the rounds of a sum",
            [Item(fewest(o, ran, tol), said(o, tol)) for o in ran if name(o) == "graph-saga"],
        ),
    ]


def said(o: Outcome, tol: float) -> str:
    """Name a run and how it ended."""
    c = o.cell
    return f"n={c.ranks} {c.topology} spread {c.spread:g} {c.algorithm}: {entry(o, tol)}"


def stays(o: Outcome, tol: float) -> bool:
    """Say whether a run stands still above the tolerance."""
    before = o.gaps[-1 - len(o.gaps) // 10]
    return not o.diverged and o.gaps[-1] > max(tol, 0.5 * before)


def alike(found: Iterable[Outcome]) -> Iterable[Item]:
    """Compare runs that differ in the graph only; coordination is exact, so the bits are the same."""
    groups: dict[tuple[object, ...], list[Outcome]] = {}
    for o in found:
        if name(o) in ("graph-saga", "dlas"):
            groups.setdefault((o.cell.ranks, o.cell.spread, o.cell.algorithm), []).append(o)
    for key, group in groups.items():
        if len(group) > 1:
            same = all(o.gaps == group[0].gaps for o in group)
            yield Item(same, f"{len(group)} runs, n={key[0]} spread {key[1]} {key[2]}")


def fewest(o: Outcome, found: Sequence[Outcome], tol: float) -> bool:
    """Say whether no other algorithm reached the tolerance there in fewer iterations."""
    place = o.cell._replace(algorithm="")
    others = [p.at(tol) for p in found if p.cell._replace(algorithm="") == place]
    mine = o.at(tol)
    return mine is not None and mine <= min(k for k in others if k is not None)
