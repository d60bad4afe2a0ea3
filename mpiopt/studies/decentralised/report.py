"""The tables, the picture and the page of the study."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.results.html.charts import Chart, curve
from mpiopt.studies.decentralised.claims import judge
from mpiopt.studies.decentralised.job import DecentralisedStudy
from mpiopt.studies.decentralised.simulation import DecentralisedOutcome
from mpiopt.studies.job_file import as_plain
from mpiopt.studies.page import StudySummary, visible
from mpiopt.studies.report import Report, aligned

PAPER = "Beside the paper of the step sizes (DLAS-R-FTC, arXiv:2508.05887): its rivals, each cited in its own file"
UNKNOWN = (
    "The paper's own comparison (sizes, constants, figures) was not available; data and rivals are our choice.",
    "Of AdGT and DATOS only the abstracts were available: their equations here are our reconstruction.",
)
SYMBOLS = (
    ("n", "ranks"),
    ("spread", "smoothness of the ranks' objectives, the largest over the least"),
    ("gap", "(F − F*)/(F(0) − F*) at the worst rank; F the objective, F* its minimum"),
    (
        "iterations/epochs/messages/MB",
        "until the gap is reached, over all edges; an epoch is N gradients of rows",
    ),
    ("dlas, graph-saga", "exact sums along the graph: a common step, or SAGA with its preconditioner"),
    ("dgd", "a step, and the mean with the neighbours"),
    (
        "gradient-tracking, gt-saga, push-saga",
        "gradients are tracked, whole or by SAGA; one constant step",
    ),
    ("adgt, dgm-bb", "tracking with a step of each rank, by AdGD or by Barzilai and Borwein"),
    ("datos", "splitting with a line search on each rank and the least step of all"),
)


def table(outcomes: Sequence[DecentralisedOutcome], tol: float) -> str:
    """Return a line for each place, a column for each algorithm."""
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in outcomes))
    by_cell = {o.cell: o for o in outcomes}
    lines = [["n", "graph", "spread", *algorithms]]
    for place in dict.fromkeys(o.cell._replace(algorithm="") for o in outcomes):
        here = [by_cell.get(place._replace(algorithm=a)) for a in algorithms]
        lines.append(
            [str(place.ranks), place.topology, f"{place.spread:g}", *(o.ending(tol) if o else "" for o in here)]
        )
    return aligned(lines)


def charts(outcomes: Sequence[DecentralisedOutcome]) -> list[Chart]:
    """Return for each place the suboptimality of all algorithms over epochs and over messages."""
    algorithms = list(dict.fromkeys(o.cell.algorithm for o in outcomes))
    made = []
    for place in dict.fromkeys(o.cell._replace(algorithm="") for o in outcomes):
        here = [o for o in outcomes if not o.refused and o.cell._replace(algorithm="") == place]
        unlike = f", smoothness differs by {place.spread:g}" if place.spread > 1 else ""
        title = f"{place.ranks} ranks, {place.topology}{unlike}"
        for axis, kind, x in (
            ("epochs", "linear", [o.epochs for o in here]),
            ("messages over all edges", "log", [[max(1.0, r * o.edges) for r in o.rounds] for o in here]),
        ):
            parts = [
                curve(o.cell.algorithm, places, visible(o.gaps), algorithms.index(o.cell.algorithm))
                for o, places in zip(here, x, strict=True)
            ]
            made.append(Chart(title, axis, "gap", parts, xaxis=kind))
    return made


def report(job: DecentralisedStudy, outcomes: Sequence[DecentralisedOutcome]) -> Report:
    """Return everything that the study reports."""
    summary = StudySummary(
        "Along directed graphs: which algorithm reaches the optimum, and for how many messages?",
        PAPER,
        "a common adaptive step size, agreed on along the graph, is exact and better than current approaches.",
        "The gap is (F − F*)/(F(0) − F*) of the worst rank; tables: iterations/epochs/messages over all edges/MB.",
        (),
        UNKNOWN,
        charts(outcomes),
        [(f"to {tol:g}", table(outcomes, tol)) for tol in job.tols],
        f"Logistic regression on {job.data}." if job.data else "Sizes: ours; the papers have others.",
        SYMBOLS,
    )
    head = "iterations/epochs/messages over all edges/MB to {tol:g} of (F − F*)/(F(0) − F*), worst rank:"
    tables = [f"{head.format(tol=tol)}\n\n{table(outcomes, tol)}" for tol in job.tols]
    refused = dict.fromkeys(f"refused: {o.refused}" for o in outcomes if o.refused)
    tables.append("\n".join(refused))
    return Report(tables, judge(outcomes, job), as_plain(job), [vars(o) for o in outcomes], summary)
