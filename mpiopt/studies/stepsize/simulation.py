"""One cell: all ranks of a graph in one thread, until the tolerance, divergence, or the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiopt.algorithms.decentralised import dlas
from mpiopt.algorithms.decentralised.dlas import DlasState, Iteration, Request, Vector
from mpiopt.algorithms.step_sizes.base import Exchanged
from mpiopt.consensus.coordinators.max_consensus import maximum
from mpiopt.consensus.protocol_driver import run_together
from mpiopt.consensus.simulated import Simulation
from mpiopt.studies.stepsize.job import StepSizeCell, StepSizeStudy, coordinator_of, rule_of, topology_of, tuning_of
from mpiopt.studies.stepsize.synthetic import SyntheticRegression

LOST = 1e12  # times the first suboptimality: the run diverged


@dataclass(frozen=True)
class StepSizeOutcome:
    """A run."""

    cell: StepSizeCell
    gaps: list[float]  # (F − F*)/(F(0) − F*), from x = 0 on
    steps: list[float]  # γ, that of rank 0
    reached: bool
    diverged: bool
    safe_alpha: float
    rounds: int  # along the graph; those in which it was learned not counted
    messages: int  # over all edges
    megabytes: float

    @property
    def iterations(self) -> int:
        """Gradients that each rank took."""
        return len(self.gaps) - 1


class Together:
    """Answers the iterations of all ranks at once, and counts."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.rounds, self.sent = 0, 0

    def drive(self, iterations: Sequence[Iteration]) -> list[float]:
        """Do one iteration of all ranks; give what each rank's returns.

        Raises
        ------
        ArithmeticError
            Where a rank asks with NaN or infinity.
        """
        ends: list[float] = []
        answers: list[Vector | None] = [None] * len(iterations)
        while not ends:
            asks: list[Request] = []
            for iteration, answer in zip(iterations, answers, strict=True):
                try:
                    asks.append(next(iteration) if answer is None else iteration.send(answer))
                except StopIteration as end:
                    ends.append(end.value)
            answers = list(self.answer(asks)) if asks else []
        return ends

    def answer(self, asks: Sequence[Request]) -> list[Vector]:
        """Give the mean or the maximum as each rank gets it."""
        simulation = self.simulation
        if asks[0].kind is Exchanged.MAX:
            protocols = [maximum(ask.x, view) for ask, view in zip(asks, simulation.views, strict=True)]
            values, rounds, sent = run_together(protocols, simulation.graph)
            self.rounds, self.sent = self.rounds + rounds, self.sent + sum(sent)
            return values
        found = simulation.mean([ask.x for ask in asks])
        self.rounds, self.sent = self.rounds + found[0].rounds, self.sent + sum(one.bytes_sent for one in found)
        return [one.value for one in found]


def solve(cell: StepSizeCell, study: StepSizeStudy, problem: SyntheticRegression) -> StepSizeOutcome:
    """Run a cell."""
    graph = topology_of(cell).graph(cell.ranks)
    ranks = Together(Simulation(coordinator_of(cell), graph, study.seed))
    states = started(study, problem)
    gaps, steps, diverged = [1.0], [], False
    while gaps[-1] > study.tol and len(gaps) <= study.max_iterations and not diverged:
        try:
            steps.append(iterate(states, cell, problem, ranks))
            gaps.append(problem.gap(states[0].w))
        except ArithmeticError:
            diverged = True
        diverged = diverged or not gaps[-1] < LOST
    if not np.isfinite(gaps[-1]):
        gaps[-1] = LOST
    reached = gaps[-1] <= study.tol
    messages, megabytes = ranks.rounds * graph.messages, ranks.sent / 1e6
    return StepSizeOutcome(
        cell, gaps, steps, reached, diverged, problem.safe_alpha, ranks.rounds, messages, megabytes
    )


def started(study: StepSizeStudy, problem: SyntheticRegression) -> list[DlasState]:
    """Give the state of each rank at x = 0."""
    states = [dlas.blank(np.zeros(problem.c.shape[1])) for _ in problem.c]
    for state, limit in zip(states, problem.limits.tolist(), strict=True):
        dlas.begin(state, study.first_step, limit)
    return states


def iterate(states: Sequence[DlasState], cell: StepSizeCell, problem: SyntheticRegression, ranks: Together) -> float:
    """Do one iteration of all ranks; give rank 0's step."""
    rule, tuning, form = rule_of(cell.method, problem.smoothness), tuning_of(cell.method), dlas.FORMS[cell.form]
    gradients = [problem.gradient(rank, state.w) for rank, state in enumerate(states)]
    return ranks.drive([form(state, g, rule, tuning) for state, g in zip(states, gradients, strict=True)])[0]
