"""The tables, the picture and the page of the study."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.results.html.charts import Chart, curve
from mpiopt.studies.decentralised.claims import judge
from mpiopt.studies.decentralised.job import DecentralisedStudy
from mpiopt.studies.decentralised.simulation import DecentralisedOutcome
from mpiopt.studies.drawing import panels, visible
from mpiopt.studies.job_file import as_plain
from mpiopt.studies.page import StudySummary
from mpiopt.studies.report import Report, aligned

PAPER = "Beside the paper of the step sizes (DLAS-R-FTC, arXiv:2508.05887): its rivals, each cited in its own file"
UNKNOWN = (
    "The paper's own comparison (sizes, constants, figures) was not available; data and rivals are our choice.",
)


def table(found: Sequence[DecentralisedOutcome], tol: float) -> str:
    """Return a line for each place, a column for each algorithm."""
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in found))
    by_cell = {o.cell: o for o in found}
    lines = [["n", "graph", "spread", *algorithms]]
    for place in dict.fromkeys(o.cell._replace(algorithm="") for o in found):
        here = [by_cell.get(place._replace(algorithm=a)) for a in algorithms]
        lines.append(
            [str(place.ranks), place.topology, f"{place.spread:g}", *(o.ending(tol) if o else "" for o in here)]
        )
    return aligned(lines)


def draw(found: Sequence[DecentralisedOutcome], path: str) -> None:
    """Draw suboptimality over messages and over epochs, a row for each spread, on the graph that has most cells."""
    groups: dict[tuple[int, str], list[DecentralisedOutcome]] = {}
    for o in found:
        if not o.refused:
            groups.setdefault((o.cell.ranks, o.cell.topology), []).append(o)
    (ranks, topology), chosen = max(groups.items(), key=lambda item: len(item[1]))
    spreads = sorted({o.cell.spread for o in chosen})
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in found))
    with panels(path, len(spreads), 2, (10, 3.6 * len(spreads)), sharey=True) as grid:
        for row, spread in zip(grid, spreads, strict=True):
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
        grid[0, 0].legend(fontsize="small")
        grid[0, 0].figure.suptitle(f"{ranks} ranks, {topology}")


def report(job: DecentralisedStudy, found: Sequence[DecentralisedOutcome]) -> Report:
    """Return everything that the study reports."""
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in found))
    charts = []
    for place in dict.fromkeys(o.cell._replace(algorithm="") for o in found):
        here = [o for o in found if not o.refused and o.cell._replace(algorithm="") == place]
        parts = [curve(o.cell.algorithm, o.epochs, visible(o.gaps), algorithms.index(o.cell.algorithm)) for o in here]
        title = f"{place.ranks} ranks, {place.topology}, smoothness differs by {place.spread:g}"
        charts.append(Chart(title, "epochs", "gap", parts))
    summary = StudySummary(
        "Along directed graphs: which algorithm reaches the optimum, and for how many messages?",
        PAPER,
        "a common adaptive step size, agreed on along the graph, is exact and better than current approaches.",
        "The gap is (F − F*)/(F(0) − F*) of the worst rank; tables: iterations/epochs/messages over all edges/MB.",
        (),
        UNKNOWN,
        [chart for chart in charts if chart.parts],
        [(f"to {tol:g}", table(found, tol)) for tol in job.tols],
    )
    head = "iterations/epochs/messages over all edges/MB to {tol:g} of (F − F*)/(F(0) − F*), worst rank:"
    tables = [f"{head.format(tol=tol)}\n\n{table(found, tol)}" for tol in job.tols]
    refused = dict.fromkeys(f"refused: {o.refused}" for o in found if o.refused)
    cells, facts = [o.as_plain() for o in found], judge(found, job)
    return Report([*tables, "\n".join(refused)], facts, as_plain(job), cells, lambda path: draw(found, path), summary)
