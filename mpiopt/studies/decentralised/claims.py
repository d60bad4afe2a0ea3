"""The facts that theory predicts for algorithms along graphs, judged on the outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpiopt.studies.decentralised.job import DecentralisedStudy
from mpiopt.studies.decentralised.simulation import DecentralisedOutcome
from mpiopt.studies.verdicts import Comparison, Fact, stalled

EXACT = ("graph-saga", "dlas", "gradient-tracking", "gt-saga", "push-saga", "datos")  # converge to the optimum


def name(o: DecentralisedOutcome) -> str:
    """Return the name of the algorithm without its options."""
    return o.cell.algorithm.partition("[")[0]


def alike(outcomes: Iterable[DecentralisedOutcome]) -> Iterable[Comparison]:
    """Compare runs that differ in the graph only; coordination is exact, so the bits must be the same."""
    groups: dict[tuple[object, ...], list[DecentralisedOutcome]] = {}
    for o in outcomes:
        if name(o) in ("graph-saga", "dlas"):
            groups.setdefault((o.cell.ranks, o.cell.spread, o.cell.algorithm), []).append(o)
    for key, group in groups.items():
        if len(group) > 1:
            same = all(o.gaps == group[0].gaps for o in group)
            yield Comparison(same, f"{len(group)} runs, n={key[0]} spread {key[1]} {key[2]}")


def fewest(o: DecentralisedOutcome, outcomes: Sequence[DecentralisedOutcome], tol: float) -> bool:
    """Return whether no other algorithm reached the tolerance at the same place in fewer iterations."""
    place = o.cell._replace(algorithm="")
    others = [p.at(tol) for p in outcomes if p.cell._replace(algorithm="") == place]
    mine = o.at(tol)
    return mine is not None and mine <= min(k for k in others if k is not None)


def judge(outcomes: Sequence[DecentralisedOutcome], study: DecentralisedStudy) -> list[Fact]:
    """Judge all facts."""
    tol = min(study.tols)
    ran = [o for o in outcomes if not o.refused]
    exact = [Comparison(o.at(tol) is not None, o.text(tol)) for o in ran if name(o) in EXACT]
    constant = [Comparison(not o.diverged and stalled(o.gaps, tol), o.text(tol)) for o in ran if name(o) == "dgd"]
    saga = [Comparison(fewest(o, ran, tol), o.text(tol)) for o in ran if name(o) == "graph-saga"]
    return [
        Fact(
            "a",
            f"{', '.join(EXACT)} reach {tol:g} at all ranks within the budget",
            exact,
            "of the papers of these methods",
        ),
        Fact("b", "dgd with a constant step stays away from the optimum", constant, "of the paper of DGD"),
        Fact("c", "graph-saga and dlas: the same iterates on every graph", list(alike(ran)), "ours, of this program"),
        Fact(
            "d",
            "graph-saga needs the fewest iterations, each with the rounds of a sum",
            saga,
            "ours, of this program",
        ),
    ]
