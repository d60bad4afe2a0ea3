"""Run the cells: all ranks of a graph in one thread, until the tolerance, divergence, or the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiopt.algorithms.decentralised import dlas
from mpiopt.algorithms.decentralised.dlas import DlasState, Iteration, Request, Vector
from mpiopt.algorithms.step_sizes.base import Exchanged
from mpiopt.comm.base import Comm
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.coordinators.max_consensus import maximum
from mpiopt.consensus.protocol_driver import run_together
from mpiopt.consensus.simulated import Simulation
from mpiopt.consensus.topologies.base import Topology
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.cells import run_cells
from mpiopt.studies.job_file import make_plugin
from mpiopt.studies.stepsize.job import StepSizeCell, StepSizeStudy, rule_of, tuning_of
from mpiopt.studies.stepsize.synthetic import SyntheticRegression, make

LOST = 1e12  # times the first suboptimality: the run has diverged


@dataclass(frozen=True)
class StepSizeOutcome:
    """A run."""

    cell: StepSizeCell
    gaps: list[float]  # (F − F*)/(F(0) − F*), from x = 0 on
    steps: list[float]  # γ of rank 0
    reached: bool
    diverged: bool
    safe_alpha: float
    rounds: int  # along the graph, without those in which the ranks learn the graph
    messages: int  # over all edges
    megabytes: float

    @property
    def iterations(self) -> int:
        """Gradients that each rank computed."""
        return len(self.gaps) - 1

    @property
    def ending(self) -> str:
        """Iterations, or how the run ended without reaching the tolerance."""
        if self.reached:
            return str(self.iterations)
        return "diverges" if self.diverged else f"only {self.gaps[-1]:.0e}"

    @property
    def text(self) -> str:
        """The cell and how it ended."""
        c = self.cell
        return f"n={c.ranks} {c.topology} spread {c.spread:g} {c.method}: {self.ending}"


def run(job: StepSizeStudy, comm: Comm, stop: StopSignal) -> list[StepSizeOutcome]:
    """Run this rank's cells and return the outcomes of all ranks, in the order of the job."""
    spreads = sorted({cell.spread for cell in job.cells})  # the data depend on the order of the spreads
    problems = {
        ranks: make(ranks, job.rows, job.features, job.condition, spreads, job.seed)
        for ranks in sorted({cell.ranks for cell in job.cells})
    }
    return run_cells(
        job.cells, lambda cell: solve(cell, job, problems[cell.ranks][cell.spread]), describe, comm, stop
    )


def describe(o: StepSizeOutcome, seconds: float) -> str:
    """Return the progress line of a cell."""
    return f"{o.text}  ({o.cell.coordinator} {o.cell.form}, {seconds:.1f} s)"


class SimulatedRanks:
    """Advances the iterations of all ranks together, carries out what they request, and counts rounds and bytes."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.rounds, self.bytes_sent = 0, 0

    def drive(self, iterations: Sequence[Iteration]) -> list[float]:
        """Do one iteration of all ranks and return the result of each rank.

        Raises
        ------
        ArithmeticError
            If a rank sends NaN or infinity.
        """
        results: list[float] = []
        answers: list[Vector | None] = [None] * len(iterations)
        while not results:
            requests: list[Request] = []
            for iteration, answer in zip(iterations, answers, strict=True):
                try:
                    requests.append(next(iteration) if answer is None else iteration.send(answer))
                except StopIteration as end:
                    results.append(end.value)
            answers = list(self.answer(requests)) if requests else []
        return results

    def answer(self, requests: Sequence[Request]) -> list[Vector]:
        """Return the mean or the maximum as each rank receives it."""
        simulation = self.simulation
        if requests[0].kind is Exchanged.MAX:
            protocols = [maximum(ask.x, site) for ask, site in zip(requests, simulation.views, strict=True)]
            values, rounds, sent = run_together(protocols, simulation.graph)
            self.rounds, self.bytes_sent = self.rounds + rounds, self.bytes_sent + sum(sent)
            return values
        sums = simulation.mean([ask.x for ask in requests])
        self.rounds += sums[0].rounds
        self.bytes_sent += sum(one.bytes_sent for one in sums)
        return [one.value for one in sums]


def solve(cell: StepSizeCell, study: StepSizeStudy, problem: SyntheticRegression) -> StepSizeOutcome:
    """Run a cell."""
    graph = make_plugin(Topology, cell.topology).graph(cell.ranks)
    ranks = SimulatedRanks(Simulation(make_plugin(Coordinator, cell.coordinator), graph, study.seed))
    states = initial_states(study, problem)
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
    messages, megabytes = ranks.rounds * graph.messages, ranks.bytes_sent / 1e6
    return StepSizeOutcome(
        cell, gaps, steps, reached, diverged, problem.safe_alpha, ranks.rounds, messages, megabytes
    )


def initial_states(study: StepSizeStudy, problem: SyntheticRegression) -> list[DlasState]:
    """Return the state of each rank at x = 0."""
    states = [dlas.blank(np.zeros(problem.c.shape[1])) for _ in problem.c]
    for state, limit in zip(states, problem.limits.tolist(), strict=True):
        dlas.begin(state, study.first_step, limit)
    return states


def iterate(
    states: Sequence[DlasState], cell: StepSizeCell, problem: SyntheticRegression, ranks: SimulatedRanks
) -> float:
    """Do one iteration of all ranks and return the step of rank 0."""
    rule, tuning, form = rule_of(cell.method, problem.smoothness), tuning_of(cell.method), dlas.FORMS[cell.form]
    gradients = [problem.gradient(rank, state.w) for rank, state in enumerate(states)]
    return ranks.drive([form(state, g, rule, tuning) for state, g in zip(states, gradients, strict=True)])[0]
