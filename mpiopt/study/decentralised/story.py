"""The page of the study: what goes along directed graphs, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.pages.charts import Chart, curve
from mpiopt.study.decentralised import tables
from mpiopt.study.decentralised.cell import Outcome
from mpiopt.study.decentralised.job import Study
from mpiopt.study.page import Story

PAPER = "Beside the paper of the step sizes (DLAS-R-FTC, arXiv:2508.05887): its rivals, each cited in its own file"
UNKNOWN = ("The paper's own comparison (sizes, constants, figures) could not be had; data and rivals are ours.",)


def story(job: Study, found: Sequence[Outcome]) -> Story:
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
        [(f"to {tol:g}", tables.table(found, tol)) for tol in job.tols],
    )


def placed(o: Outcome) -> tuple[int, str, float]:
    """Give where a cell is."""
    return o.cell.ranks, o.cell.topology, o.cell.spread


def shown(o: Outcome) -> list[float]:
    """Give the gaps down to rounding and up to where a run is lost."""
    return [gap if 1e-16 < gap < 1e3 else float("nan") for gap in o.gaps]
