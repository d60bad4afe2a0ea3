"""The page of the study: paper 1."""

from __future__ import annotations

from mpiopt.pages.charts import Chart, curve
from mpiopt.study.page import Story
from mpiopt.study.saga_facts import tables
from mpiopt.study.saga_facts.facts import Outcomes
from mpiopt.study.saga_facts.grid import METHODS, SHARDS, Study

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


def story(job: Study, found: Outcomes) -> Story:
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
        [("epochs/rounds", tables.epochs_table(found, job)), ("linear rates", tables.rates_table(found))],
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
