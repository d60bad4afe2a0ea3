"""Run the cells: several step sizes each, the best of them, and the linear rate fitted to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mpiopt.algorithms.baselines.scaffnew import Scaffnew
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.base import Comm
from mpiopt.comm.lockstep import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.rate import Line, line
from mpiopt.studies.cells import run_cells
from mpiopt.studies.saga_facts.job import ADAPTIVE_STEP, METHODS, SagaCell, SagaStudy, with_local_steps
from mpiopt.studies.saga_facts.synthetic import SyntheticProblem, make

EVERY = 0.25  # epochs between two evaluations of the objective, which are not counted
LOST = 10.0  # times the first suboptimality: the run has diverged
DIVERGED = 1e300  # stands for a gap that is not a finite number
PATIENCE = 3600.0  # seconds that a rank may wait for its turn
FIRST_PASS = 1.0  # epochs of the first round that fill the table: all methods need them, so they are not counted
RUN_SEED = 1  # added to the seed of the data


class CurvePoint(NamedTuple):
    """One evaluation of the objective during a run."""

    epochs: float  # row gradients of all ranks / N
    rounds: int
    gap: float  # (F − F*)/(F(0) − F*)


Trace = list[CurvePoint]


@dataclass(frozen=True)
class SagaOutcome:
    """The median run of a cell with its best step."""

    cell: SagaCell
    visits: int  # H
    multiple: float  # γ in units of 1/(3L); 0: chosen by the program
    trace: Trace
    reached: bool
    lowest: float  # smallest gap of any of the runs
    spread: tuple[float, float]  # least and most epochs of the repeats that reached the tolerance

    @property
    def last(self) -> CurvePoint:
        """The end of the run."""
        return self.trace[-1]

    @property
    def rate(self) -> Line:
        """The linear rate over the whole run."""
        return fitted([(p.epochs, p.gap) for p in self.trace])

    @property
    def effort(self) -> tuple[bool, float]:
        """A sort key that is smaller for the better outcome."""
        return (False, self.last.epochs) if self.reached else (True, self.last.gap)

    @property
    def ending(self) -> str:
        """Epochs/rounds, or the gap if the tolerance was not reached."""
        return f"{self.last.epochs:.1f}/{self.last.rounds}" if self.reached else f"fails {self.last.gap:.0e}"

    def as_plain(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        rate = {k: v if np.isfinite(v) else None for k, v in self.rate._asdict().items()}
        return {**vars(self), "cell": list(self.cell), "trace": [list(p) for p in self.trace], "rate": rate}


class Outcomes:
    """All outcomes by cell."""

    def __init__(self, outcomes: Iterable[SagaOutcome]) -> None:
        self.by_cell = {outcome.cell: outcome for outcome in outcomes}
        self.ranks = sorted({cell.ranks for cell in self.by_cell} - {1})

    def at(self, shards: str, ranks: int, steps: str, method: str = "B") -> SagaOutcome | None:
        """Return the outcome of a cell, or None if it was not run."""
        return self.by_cell.get(SagaCell(shards, ranks, steps, method))

    def saga(self) -> float | None:
        """Return the epochs of SAGA: one rank with rounds of a quarter of an epoch, whose averages change nothing."""
        one_rank = self.at("shuffled", 1, "n/4")
        return one_rank.last.epochs if one_rank and one_rank.reached else None


def run(job: SagaStudy, comm: Comm, stop: StopSignal) -> list[SagaOutcome]:
    """Run this rank's cells and return the outcomes of all ranks, in the order of the job."""
    problem = make(job.rows, job.features, job.ridge, job.seed)
    return run_cells(job.cells, lambda cell: solve(cell, job, problem), describe, comm, stop)


def describe(o: SagaOutcome, seconds: float) -> str:
    """Return the progress line of a cell."""
    c = o.cell
    return f"{c.shards} K={c.ranks} H={c.local_steps} {c.method}: {o.ending}  ({seconds:.1f} s)"


def solve(cell: SagaCell, study: SagaStudy, problem: SyntheticProblem) -> SagaOutcome:
    """Find the best step size, then repeat with other random orders at that step; the median run is the outcome."""
    best = search(cell, study, problem)
    budget = budget_of(cell, study)
    repeats = [run_once(cell, best.multiple, study, problem, budget, r) for r in range(1, study.repeats)]
    runs = sorted([best.trace, *repeats], key=lambda trace: sort_key(trace, study.tol))
    lowest = min(best.lowest, *(p.gap for trace in runs for p in trace))
    median = runs[len(runs) // 2]
    ends = [trace[-1].epochs for trace in runs if trace[-1].gap <= study.tol]
    spread = (ends[0], ends[-1]) if ends else (0.0, 0.0)
    h = cell.visits(study.rows)
    return SagaOutcome(cell, h, best.multiple, median, median[-1].gap <= study.tol, lowest, spread)


class BestStep(NamedTuple):
    """What the search for a step size found."""

    multiple: float  # γ in units of 1/(3L)
    trace: Trace  # the run with it
    lowest: float  # smallest gap of all runs


def search(cell: SagaCell, study: SagaStudy, problem: SyntheticProblem) -> BestStep:
    """Return the step that reaches the tolerance in the fewest epochs, or else has the lowest gap at the end.

    Once a step has reached the tolerance, the others get no more epochs than it took.
    """
    tried = []
    cap = budget_of(cell, study)
    for multiple in multiples(cell, study):
        trace = run_once(cell, multiple, study, problem, cap, 0)
        tried.append((multiple, trace))
        if trace[-1].gap <= study.tol:
            cap = min(cap, trace[-1].epochs)
    multiple, trace = min(tried, key=lambda one: sort_key(one[1], study.tol))
    return BestStep(multiple, trace, min(p.gap for _, points in tried for p in points))


def budget_of(cell: SagaCell, study: SagaStudy) -> float:
    """Return the epochs after which a run has failed."""
    return study.gradient_epochs if cell.method == "scaffnew" else study.max_epochs


def multiples(cell: SagaCell, study: SagaStudy) -> list[float]:
    """Return the step sizes to try; for C, whose innovation counts 1/K only, also steps that are K times as long."""
    if cell.method in ADAPTIVE_STEP:
        return [0.0]
    longer = [cell.ranks * m for m in study.steps] if cell.method == "C" else []
    return list(dict.fromkeys([*longer, *study.steps]))


def sort_key(trace: Trace, tol: float) -> tuple[bool, float]:
    """Return a sort key that is smaller for a better run: runs that reached the tolerance first, by their epochs."""
    last = trace[-1]
    return (False, last.epochs) if last.gap <= tol else (True, last.gap)


def run_once(
    cell: SagaCell, multiple: float, study: SagaStudy, problem: SyntheticProblem, cap: float, repeat: int
) -> Trace:
    """Make one run, which ends at the tolerance, after `cap` epochs, or when it diverges."""
    step, seed = multiple / (3.0 * problem.smoothness), study.seed + RUN_SEED + repeat
    algorithm = with_local_steps(cell, study.rows, replace(METHODS[cell.method], step_size=step))

    def main(comm: Comm) -> Trace:
        channel = Channel(comm, seed)
        return follow(algorithm, problem.objective(cell.shards, comm), problem, channel, study.tol, cap)

    return spmd(cell.ranks, main, PATIENCE)[0]


def follow(
    algorithm: Saga | Scaffnew,
    objective: Objective,
    problem: SyntheticProblem,
    channel: Channel,
    tol: float,
    cap: float,
) -> Trace:
    """Do the rounds of one rank and evaluate the objective about every quarter of an epoch; collective."""
    state: Any = algorithm.init(objective, channel)
    trace, rounds = [CurvePoint(0.0, 0, 1.0)], 0
    epochs = -FIRST_PASS if isinstance(algorithm, Saga) else 0.0
    while not done(trace[-1], tol, cap):
        epochs += algorithm.step(rounds, state, objective, channel).epochs
        rounds += 1
        if epochs - trace[-1].epochs >= EVERY - 1e-9:
            gap = problem.gap(evaluate_exact(objective, state.w, channel).value)
            trace.append(CurvePoint(epochs, rounds, gap if np.isfinite(gap) else DIVERGED))
    return trace


def done(now: CurvePoint, tol: float, cap: float) -> bool:
    """Return whether a run is over."""
    return now.gap <= tol or now.gap >= LOST or now.epochs >= cap - 1e-9


def fitted(points: Sequence[tuple[float, float]]) -> Line:
    """Fit a straight line through ln gap over epochs; NaN if fewer than three gaps are positive."""
    x, gap = np.array(points, float).reshape(-1, 2).T
    return line(x, gap)
