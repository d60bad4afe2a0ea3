"""The tables, the picture and the page of the study."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.results.html.charts import Chart, curve
from mpiopt.studies.job_file import as_plain
from mpiopt.studies.page import StudySummary
from mpiopt.studies.report import Report, aligned
from mpiopt.studies.saga_facts.claims import LARGE, judge
from mpiopt.studies.saga_facts.job import METHODS, SHARDS, SagaStudy
from mpiopt.studies.saga_facts.simulation import EVERY, Outcomes, SagaOutcome

PAPER = (
    "C. Calauzènes and N. Le Roux, Distributed SAGA: Maintaining linear convergence rate with limited communication, "
    "arXiv:1705.10405 (2017)"
)
CORRECTED = (
    "C needs no steps about K times as long as B: its best step is 1 to 2 times B's, here and in the reference "
    "program.",
    "Where the table says that B fails, it is slow, not stuck: with 400 epochs it goes on along a straight line to "
    "1e-10; E (no correction) alone has a floor.",
    "The surrogates of ranks with different data drift apart on long rounds; the curvature of the whole objective "
    "as preconditioner is the cure.",
)
UNKNOWN = (
    "Only the abstract and the beginning of the paper were available: algorithm, theorem and experiments are our "
    "reconstruction (variants A to E), and so are the facts. They are not the original figures.",
    "Whether the original averages iterates, and the constant of its step size.",
)

# Epochs/rounds of B, measured with the reconstruction before this program existed (numpy and numba, one process):
# N = 8192, d = 32, l2 = 1/N, the same data, other random orders. "fails": not within 60 epochs.
STEPS = ("1", "10", "n/4", "n", "4n")
REFERENCE = {
    ("shuffled", 1): ("15.0", "15.0", "15.0", "15.0", "16.0"),
    ("shuffled", 4): ("14.5/29696", "13.5/2765", "14.5/58", "31/31", "fails"),
    ("shuffled", 16): ("13.0/6656", "14.5/743", "18.5/74", "34/34", "fails"),
    ("shuffled", 64): ("30.2/3872", "28.8/368", "23.5/94", "47/47", "fails"),
    ("sorted-by-label", 4): ("14.5", "13.0", "22.2", "41", "fails"),
    ("sorted-by-label", 16): ("13.2", "14.5", "32.2", "fails 2e-08", "fails"),
    ("sorted-by-label", 64): ("30.2", "24.5", "52.5", "fails", "fails"),
}
SYMBOLS = (
    ("F, F*", "the objective, its minimum"),
    ("N, K, n", "all rows, ranks, rows of a rank: n = N/K"),
    ("H", "rows that a rank visits between two exchanges; n/4, n, 4n are parts and multiples of n"),
    ("w̄", "the mean of the ranks' models after an exchange"),
    ("L, γ", "smoothness of a row's term, step; steps are in units of 1/(3L)"),
    ("A, B, C, D", "forms of the correction of a local step: docs/explanation/mathematics"),
    ("E", "no correction, as a control that must fail"),
    ("refresh", "B, and the table is filled again every two epochs"),
    ("chosen", "the program chooses everything but the first H"),
    ("metric", "steps in the curvature of the whole objective"),
    ("scaffnew", "ProxSkip (arXiv 2202.09357): whole gradients, exchanges by a coin, H rows apart on average"),
    ("epochs/rounds", "gradients of rows over N, exchanges, until the tolerance; the median of the orders"),
)
RATED = ("B", "refresh", "chosen", "metric")  # methods in the table of rates


def epochs_table(outcomes: Outcomes, study: SagaStudy) -> str:
    """Return a line for each place of the grid, a column for each method: epochs/rounds or the gap at the end."""
    methods = [m for m in METHODS if any(cell.method == m for cell in outcomes.by_cell)]
    lines = [["shards", "K", "n", "H", "reference B", *methods]]
    for shards, k, steps in dict.fromkeys(cell[:3] for cell in outcomes.by_cell):
        cells = [outcomes.at(shards, k, steps, m) for m in methods]
        reference = REFERENCE.get((shards, k), ())
        known = reference[STEPS.index(steps)] if reference and steps in STEPS else ""
        lines.append([shards, str(k), str(study.rows // k), steps, known, *(o.ending if o else "" for o in cells)])
    return aligned(lines)


def rates_table(outcomes: Outcomes) -> str:
    """Return the linear rates of B and of its cures: the line through ln gap over epochs, and the best step."""
    lines = [["shards", "K", "H", "method", "slope per epoch", "std err", "R²", "step, 1/(3L)", "epochs of repeats"]]
    for cell, o in outcomes.by_cell.items():
        if cell.method in RATED:
            slope, error, r2 = o.rate
            step = f"{o.multiple:g}" if o.multiple else "chosen"
            spread = f"{o.spread[0]:.1f} … {o.spread[1]:.1f}" if o.reached else ""
            place = [cell.shards, str(cell.ranks), cell.local_steps, cell.method]
            lines.append([*place, f"{slope:.3f}", f"{error:.3f}", f"{r2:.3f}", step, spread])
    return aligned(lines)


def chart(outcomes: Outcomes, shards: str, ranks: int, steps: str) -> Chart:
    """Return the suboptimality of all methods over rounds at one place of the grid."""
    runs = [(method, i, outcomes.at(shards, ranks, steps, method)) for i, method in enumerate(METHODS)]
    parts = [
        curve(method, [p.rounds for p in o.trace], [p.gap if p.gap < 10.0 else float("nan") for p in o.trace], i)
        for method, i, o in runs
        if o is not None
    ]
    return Chart(f"{shards}, K = {ranks}, H = {steps}", "rounds", "(F − F*) / (F(0) − F*)", parts)


def report(job: SagaStudy, outcomes: Sequence[SagaOutcome]) -> Report:
    """Return everything that the study reports."""
    by_cell = Outcomes(outcomes)
    epochs, rates = epochs_table(by_cell, job), rates_table(by_cell)
    tables = [
        f"epochs/rounds to the tolerance, best step, median run; or the suboptimality after the budget:\n\n{epochs}",
        f"linear rate, ln of the suboptimality over epochs, measured every {EVERY} epochs or every round:\n\n{rates}",
    ]
    ranks = max(by_cell.ranks, default=1)
    charts = [chart(by_cell, shards, ranks, steps) for shards in SHARDS for steps in LARGE]
    summary = StudySummary(
        "Distributed SAGA: a linear rate with few exchanges?",
        PAPER,
        "SAGA whose ranks exchange only from time to time keeps its linear rate, as long as each rank has enough "
        "rows.",
        f"Synthetic logistic data, {job.rows} rows, the best of a grid of step sizes, epochs and rounds to "
        f"{job.tol:g} of F(0) − F*. H is the number of local steps between two exchanges, K the number of "
        "ranks, n the rows of one rank.",
        CORRECTED,
        UNKNOWN,
        charts,
        [("epochs/rounds", epochs), ("linear rates", rates)],
        f"Sizes: the original's are not known; {job.rows} rows are ours. "
        + ("The whole grid." if by_cell.at("shuffled", 64, "1") else "Reduced: without H = 1 and 64 ranks (FULL=1)."),
        SYMBOLS,
    )
    cells = [o.as_plain() for o in outcomes]
    return Report(tables, judge(by_cell), as_plain(job), cells, summary, all_comparisons=True)
