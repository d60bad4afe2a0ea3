"""The tables, the picture and the page of the study."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.results.html.charts import Chart, curve
from mpiopt.studies.job_file import as_plain
from mpiopt.studies.page import StudySummary, visible
from mpiopt.studies.report import Report, aligned
from mpiopt.studies.stepsize.claims import judge
from mpiopt.studies.stepsize.job import StepSizeStudy
from mpiopt.studies.stepsize.simulation import StepSizeOutcome

PAPER = (
    "A. I. Rikos, N. Bastianello, T. Charalambous and K. H. Johansson, distributed learning with adaptive step sizes "
    "and finite-time coordination (DLAS-R-FTC), arXiv:2508.05887, CDC (2025)"
)
CORRECTED = (
    "The mean of the ranks' steps, the paper's rule, is not safe: it diverges where the ranks' smoothness differs by "
    "100 or more. The harmonic mean needs no constant and is as fast as the curvature of the mean gradient.",
    "With local updates alone, each rank would converge to its own optimum: models are coordinated as well, as in "
    "related algorithms of the same authors.",
    "The textbook form of finite-time coordination loses its digits beyond 10 ranks in float64; in a finite field it "
    "is exact.",
)
UNKNOWN = (
    "Only the abstract, the beginning of the paper and a second-hand copy of the update equations were available. "
    "Sizes, constants, theorem and figures of the original are not known; the facts and the reference are our "
    "reconstruction.",
)

SYMBOLS = (
    ("n", "ranks, each with its own rows"),
    ("L, spread", "smoothness of a rank's objective; the largest over the least of the ranks"),
    ("mean, harmonic, min", "the mean, the harmonic mean, the least of the ranks' own steps"),
    ("global", "a step from the curvature of the mean gradient"),
    ("fixed, theoretical", "1/L of F, and the step that a proof allows"),
    ("none", "each rank takes its own step"),
    ("α, κ", "step times measured curvature, at most; weight of the past in it"),
    ("merged", "steps and gradients travel in one sum; unmerged: in two"),
    ("finite-field, hankel, ratio, flooding", "ways to compute a sum along a graph: mpiopt list coordinators"),
    ("F, F*", "the objective, its minimum"),
)


def largest(outcomes: Sequence[StepSizeOutcome]) -> list[StepSizeOutcome]:
    """Return the outcomes of the graph, coordinator and form that have most cells."""
    groups: dict[tuple[object, ...], list[StepSizeOutcome]] = {}
    for o in outcomes:
        groups.setdefault((o.cell.ranks, o.cell.topology, o.cell.coordinator, o.cell.form), []).append(o)
    return max(groups.values(), key=len)


def table(outcomes: Sequence[StepSizeOutcome]) -> str:
    """Return a line for each place, a column for each method: iterations/messages in thousands, or how it ended."""
    methods = list(dict.fromkeys(o.cell.method for o in outcomes))
    by_cell = {o.cell: o for o in outcomes}
    lines = [["n", "graph", "coordinator", "form", "spread", *methods]]
    for cell in dict.fromkeys(o.cell._replace(method="") for o in outcomes):
        here = [by_cell.get(cell._replace(method=m)) for m in methods]
        words = [str(cell.ranks), cell.topology, cell.coordinator, cell.form, f"{cell.spread:g}"]
        lines.append([*words, *(entry(o) if o else "" for o in here)])
    return aligned(lines)


def entry(o: StepSizeOutcome) -> str:
    """Return iterations/messages of a run."""
    return f"{o.iterations}/{o.messages / 1000:.1f}k" if o.reached else o.ending


def report(job: StepSizeStudy, outcomes: Sequence[StepSizeOutcome]) -> Report:
    """Return everything that the study reports."""
    chosen = largest(outcomes)
    methods = list(dict.fromkeys(o.cell.method for o in chosen))
    charts = []
    for spread in sorted({o.cell.spread for o in chosen}):
        here = [o for o in chosen if o.cell.spread == spread]
        parts = [
            curve(o.cell.method, range(len(o.gaps)), visible(o.gaps), methods.index(o.cell.method)) for o in here
        ]
        charts.append(Chart(f"smoothness differs by {spread:g}", "iterations", "(F − F*) / (F(0) − F*)", parts))
    cell, lines = chosen[0].cell, table(outcomes)
    head = f"iterations/messages to {job.tol:g} of (F − F*)/(F(0) − F*), messages over all edges:"
    summary = StudySummary(
        "Which common step size, and what does agreeing on it cost?",
        PAPER,
        "step sizes that each rank adapts by itself must be made equal by finite-time coordination; then the optimum "
        "is reached exactly, and sooner than with fixed or with uncoordinated steps.",
        f"Linear regression on ranks whose smoothness L differs by the spread; curves of {cell.ranks} ranks on the "
        f"graph {cell.topology}, coordinated by {cell.coordinator}.",
        CORRECTED,
        UNKNOWN,
        charts,
        [("iterations/messages", lines)],
        "Sizes: the paper's are not known; these are ours.",
        SYMBOLS,
    )
    return Report([f"{head}\n\n{lines}"], judge(outcomes, job), as_plain(job), [vars(o) for o in outcomes], summary)
