"""The page of the study: paper 3."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.pages.charts import Chart, curve
from mpiopt.study.failure import tables
from mpiopt.study.failure.job import Study
from mpiopt.study.failure.outcome import Outcome
from mpiopt.study.page import Story

PAPER = (
    "Cao, Luo, Gan and Jinesh, Training Through Failure: effects of data consistency in parallel machine learning "
    "training, Stanford CS244B (2024), arXiv:2406.05546; their numbers are from the logs behind their figures"
)
CORRECTED = (
    "The collapse of checkpoints in the figure with two kills is an error of the published code: with a kill still "
    "pending the new server starts from random weights. Here it restores; an option makes the figure again.",
    "The paper's runs have one worker, where sync and async differ by noise only: more workers are run here.",
    "A store of pending gradients appends in O(1) time; in the paper's code each append writes the whole list again, "
    "which bounds the backlog.",
    "The logits have no ReLU.",
)
UNKNOWN = (
    "One seed without repeats: the paper's accuracies are known to about 5 points.",
    "Five times as many gradients of the stateless server come mostly from workers that need not be made anew for "
    "each task, not from consistency: gradients a second are shown apart.",
)


def story(job: Study, found: Sequence[Outcome]) -> Story:
    """Give the page's words, curves and tables."""
    one = [o for o in found if o.cell.seed == found[0].cell.seed]
    names = list(dict.fromkeys(o.cell.configuration for o in one))
    places = dict.fromkeys((o.cell.kills, o.cell.workers) for o in one)
    charts = []
    for kills, workers in places:
        here = [o for o in one if (o.cell.kills, o.cell.workers) == (kills, workers)]
        parts = [
            curve(o.cell.configuration, [j.seconds for j in o.judged], [j.accuracy for j in o.judged],
                  names.index(o.cell.configuration))
            for o in here
        ]  # fmt: skip
        title = f"{kills} kill{'' if kills == 1 else 's'}, {workers} worker{'' if workers == 1 else 's'}"
        charts.append(Chart(title, "seconds", "accuracy", parts, yaxis="linear"))
    parts_ = [("accuracies", tables.accuracies(one)), ("work", tables.work(one)), ("cost", tables.cost(one, job))]
    return Story(
        "Training through the death of the parameter server",
        PAPER,
        "a stateless server gains up to 10 points of accuracy across a failure (15 in the text), because workers go "
        "on meanwhile; in the end it is no more accurate than checkpoints or chains.",
        f"Five ways to keep the parameters, killed while a network is trained (mode {job.mode}); accuracy over time, "
        "before and after each kill.",
        CORRECTED,
        UNKNOWN,
        charts,
        [*parts_, ("over seeds", tables.over_seeds(found) or "one seed")],
    )
