"""The page of the study: paper 2."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.pages.charts import Chart, curve
from mpiopt.study.page import Story
from mpiopt.study.stepsize import tables
from mpiopt.study.stepsize.job import Study
from mpiopt.study.stepsize.picture import largest
from mpiopt.study.stepsize.simulation import Outcome

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


def story(job: Study, found: Sequence[Outcome]) -> Story:
    """Give the page's words, curves and tables."""
    chosen = largest(found)
    methods = list(dict.fromkeys(o.cell.method for o in chosen))
    charts = []
    for spread in sorted({o.cell.spread for o in chosen}):
        here = [o for o in chosen if o.cell.spread == spread]
        parts = [curve(o.cell.method, range(len(o.gaps)), shown(o), methods.index(o.cell.method)) for o in here]
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
        [("iterations/messages", tables.table(found))],
    )


def shown(o: Outcome) -> list[float]:
    """Give the gaps down to rounding and up to where a run is lost."""
    return [gap if 1e-16 < gap < 1e3 else float("nan") for gap in o.gaps]
