"""The picture of the study: suboptimality over messages and over epochs, a row for each spread of one graph.

What the study prints: what every cell cost to each tolerance, and the verdicts.

The page of the study: what goes along directed graphs, side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpiopt.results.html.charts import Chart, curve
from mpiopt.studies.decentralised.cell import DecentralisedOutcome
from mpiopt.studies.decentralised.job import DecentralisedStudy
from mpiopt.studies.drawing import load_pyplot
from mpiopt.studies.files import aligned
from mpiopt.studies.page import Story
from mpiopt.studies.verdicts import Fact, Item


def draw(found: Sequence[DecentralisedOutcome], path: str) -> None:
    """Draw the algorithms on the graph that has most cells.

    Raises
    ------
    ImportError
        Where matplotlib is absent.
    """
    pyplot = load_pyplot()

    groups: dict[tuple[int, str], list[DecentralisedOutcome]] = {}
    for o in found:
        if not o.refused:
            groups.setdefault((o.cell.ranks, o.cell.topology), []).append(o)
    (ranks, topology), chosen = max(groups.items(), key=lambda item: len(item[1]))
    spreads = sorted({o.cell.spread for o in chosen})
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in found))
    figure, panels = pyplot.subplots(
        len(spreads), 2, figsize=(10, 3.6 * len(spreads)), sharey=True, layout="constrained", squeeze=False
    )
    for row, spread in zip(panels, spreads, strict=True):
        for o in (o for o in chosen if o.cell.spread == spread):
            number = algorithms.index(o.cell.algorithm)
            style = {"color": f"C{number}", "ls": ("-", "--")[number % 2], "label": o.cell.algorithm, "lw": 1.3}
            gaps = [max(gap, 1e-16) for gap in o.gaps]
            row[0].loglog([max(1, r * o.edges) for r in o.rounds], gaps, **style)
            row[1].loglog([max(0.1, e) for e in o.epochs], gaps, **style)
        for axes, label in zip(row, ("messages over all edges", "epochs"), strict=True):
            axes.set(title=f"L_max/L_min = {spread:g}", xlabel=label, ylim=(1e-10, 10))
            axes.grid(alpha=0.3)
        row[0].set_ylabel("(F − F*)/(F(0) − F*), worst rank")
    panels[0, 0].legend(fontsize="small")
    figure.suptitle(f"{ranks} ranks, {topology}")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


EXACT = ("graph-saga", "dlas", "gradient-tracking", "gt-saga", "push-saga")


def table(found: Sequence[DecentralisedOutcome], tol: float) -> str:
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


def entry(o: DecentralisedOutcome, tol: float) -> str:
    """Give iterations/epochs/messages in thousands/MB of a run, or how it ended."""
    k = o.at(tol)
    if o.refused:
        return "refused"
    if k is None:
        return "diverges" if o.diverged else f"only {o.gaps[-1]:.0e}"
    return f"{k}/{o.epochs[k]:.0f}/{o.rounds[k] * o.edges / 1000:.1f}k/{o.megabytes[k]:.2f}"


def name(o: DecentralisedOutcome) -> str:
    """Give the algorithm without its options."""
    return o.cell.algorithm.partition("[")[0]


def judge(found: Sequence[DecentralisedOutcome], study: DecentralisedStudy) -> list[Fact]:
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


def said(o: DecentralisedOutcome, tol: float) -> str:
    """Name a run and how it ended."""
    c = o.cell
    return f"n={c.ranks} {c.topology} spread {c.spread:g} {c.algorithm}: {entry(o, tol)}"


def stays(o: DecentralisedOutcome, tol: float) -> bool:
    """Say whether a run stands still above the tolerance."""
    before = o.gaps[-1 - len(o.gaps) // 10]
    return not o.diverged and o.gaps[-1] > max(tol, 0.5 * before)


def alike(found: Iterable[DecentralisedOutcome]) -> Iterable[Item]:
    """Compare runs that differ in the graph only; coordination is exact, so the bits are the same."""
    groups: dict[tuple[object, ...], list[DecentralisedOutcome]] = {}
    for o in found:
        if name(o) in ("graph-saga", "dlas"):
            groups.setdefault((o.cell.ranks, o.cell.spread, o.cell.algorithm), []).append(o)
    for key, group in groups.items():
        if len(group) > 1:
            same = all(o.gaps == group[0].gaps for o in group)
            yield Item(same, f"{len(group)} runs, n={key[0]} spread {key[1]} {key[2]}")


def fewest(o: DecentralisedOutcome, found: Sequence[DecentralisedOutcome], tol: float) -> bool:
    """Say whether no other algorithm reached the tolerance there in fewer iterations."""
    place = o.cell._replace(algorithm="")
    others = [p.at(tol) for p in found if p.cell._replace(algorithm="") == place]
    mine = o.at(tol)
    return mine is not None and mine <= min(k for k in others if k is not None)


PAPER = "Beside the paper of the step sizes (DLAS-R-FTC, arXiv:2508.05887): its rivals, each cited in its own file"
UNKNOWN = ("The paper's own comparison (sizes, constants, figures) could not be had; data and rivals are ours.",)


def story(job: DecentralisedStudy, found: Sequence[DecentralisedOutcome]) -> Story:
    """Give the page's words, curves and tables."""
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in found))
    charts = []
    for ranks, topology, spread in dict.fromkeys(map(placed, found)):
        here = [o for o in found if not o.refused and placed(o) == (ranks, topology, spread)]
        parts = [curve(o.cell.algorithm, o.epochs, shown(o), algorithms.index(o.cell.algorithm)) for o in here]
        charts.append(Chart(f"{ranks} ranks, {topology}, smoothness differs by {spread:g}", "epochs", "gap", parts))
    return Story(
        "Along directed graphs: which algorithm reaches the optimum, and for how many messages?",
        PAPER,
        "a common adaptive step size, agreed on along the graph, is exact and better than current approaches.",
        "The gap is (F − F*)/(F(0) − F*) of the worst rank; tables: iterations/epochs/messages over all edges/MB.",
        (),
        UNKNOWN,
        [chart for chart in charts if chart.parts],
        [(f"to {tol:g}", table(found, tol)) for tol in job.tols],
    )


def placed(o: DecentralisedOutcome) -> tuple[int, str, float]:
    """Give where a cell is."""
    return o.cell.ranks, o.cell.topology, o.cell.spread


def shown(o: DecentralisedOutcome) -> list[float]:
    """Give the gaps down to rounding and up to where a run is lost."""
    return [gap if 1e-16 < gap < 1e3 else float("nan") for gap in o.gaps]
