"""One cell: runs with several step sizes, the best of them, and the linear rate fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.base import Comm
from mpiopt.comm.lockstep import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.objective import Objective
from mpiopt.results.rate import Line, line
from mpiopt.studies.saga_facts.job import CHOSEN, METHODS, SagaCell, SagaStudy, rounds_of
from mpiopt.studies.saga_facts.synthetic import SyntheticProblem

EVERY = 0.25  # epochs between two looks at the objective, which are not counted
LOST = 10.0  # times the first suboptimality: the run diverged
DIVERGED = 1e300  # instead of a gap that is no finite number
PATIENCE = 3600.0  # seconds that a rank may wait for its turn
FIRST_PASS = 1.0  # epochs in the first round's account that fill the table: all methods need it, none is charged
RUN_SEED = 1  # added to the seed of the data


class CurvePoint(NamedTuple):
    """A look at the objective."""

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
    lowest: float  # gap that any of the runs ever saw
    spread: tuple[float, float]  # least and most epochs of the repeats that reached the tolerance

    @property
    def last(self) -> CurvePoint:
        """Where the best run ended."""
        return self.trace[-1]

    @property
    def rate(self) -> Line:
        """The linear rate over the whole run."""
        return fitted([(p.epochs, p.gap) for p in self.trace])


def solve(cell: SagaCell, study: SagaStudy, problem: SyntheticProblem) -> SagaOutcome:
    """Find the best step size, then repeat with other random orders at that step; the median run is the outcome."""
    multiple, first, lowest = search(cell, study, problem)
    runs = [first] + [run(cell, multiple, study, problem, study.max_epochs, r) for r in range(1, study.repeats)]
    runs.sort(key=lambda trace: standing(trace, study.tol))
    lowest = min(lowest, *(p.gap for trace in runs for p in trace))
    median = runs[len(runs) // 2]
    ends = [standing(trace, study.tol)[1] for trace in runs if trace[-1].gap <= study.tol]
    spread = (ends[0], ends[-1]) if ends else (0.0, 0.0)
    return SagaOutcome(cell, cell.visits(study.rows), multiple, median, median[-1].gap <= study.tol, lowest, spread)


def search(cell: SagaCell, study: SagaStudy, problem: SyntheticProblem) -> tuple[float, Trace, float]:
    """Give the step with the fewest epochs, else the lowest gap at the end, its run, and the lowest gap of all runs.

    Once a step has reached the tolerance, the others get no more epochs than it took.
    """
    found = []
    cap = study.max_epochs
    for multiple in multiples(cell, study):
        trace = run(cell, multiple, study, problem, cap, 0)
        found.append((multiple, trace))
        if trace[-1].gap <= study.tol:
            cap = min(cap, trace[-1].epochs)
    best = min(found, key=lambda one: standing(one[1], study.tol))
    return *best, min(p.gap for _, trace in found for p in trace)


def multiples(cell: SagaCell, study: SagaStudy) -> list[float]:
    """Give the step sizes to try; for C, whose innovation counts 1/K only, those K times as long as well."""
    if cell.method in CHOSEN:
        return [0.0]
    longer = [cell.ranks * m for m in study.steps] if cell.method == "C" else []
    return list(dict.fromkeys([*longer, *study.steps]))


def standing(trace: Trace, tol: float) -> tuple[float, float]:
    """Give what is less for a better run."""
    last = trace[-1]
    return (0.0, last.epochs) if last.gap <= tol else (1.0, last.gap)


def run(
    cell: SagaCell, multiple: float, study: SagaStudy, problem: SyntheticProblem, cap: float, repeat: int
) -> Trace:
    """Make one run on ranks that take turns; it ends at the tolerance, after `cap` epochs, or when it diverges."""
    step, seed = multiple / (3.0 * problem.smoothness), study.seed + RUN_SEED + repeat
    algorithm = rounds_of(cell, study.rows, replace(METHODS[cell.method], step_size=step))

    def main(comm: Comm) -> Trace:
        channel = Channel(comm, seed)
        return follow(algorithm, problem.objective(cell.shards, comm), problem, channel, study.tol, cap)

    return spmd(cell.ranks, main, PATIENCE)[0]


def follow(
    algorithm: Saga, objective: Objective, problem: SyntheticProblem, channel: Channel, tol: float, cap: float
) -> Trace:
    """Do the rounds of one rank and look at the objective about every quarter of an epoch; collective."""
    state = algorithm.init(objective, channel)
    trace, epochs, rounds = [CurvePoint(0.0, 0, 1.0)], -FIRST_PASS, 0
    while not done(trace[-1], tol, cap):
        epochs += algorithm.step(rounds, state, objective, channel).epochs
        rounds += 1
        if epochs - trace[-1].epochs >= EVERY - 1e-9:
            gap = problem.gap(evaluate_exact(objective, state.w, channel).value)
            trace.append(CurvePoint(epochs, rounds, gap if np.isfinite(gap) else DIVERGED))
    return trace


def done(now: CurvePoint, tol: float, cap: float) -> bool:
    """Say whether a run is over."""
    return now.gap <= tol or now.gap >= LOST or now.epochs >= cap - 1e-9


def fitted(points: Sequence[tuple[float, float]]) -> Line:
    """Fit a straight line through ln gap over epochs; NaN where fewer than three gaps are positive."""
    x, gap = np.array(points, float).reshape(-1, 2).T
    return line(x, gap)
