"""Run the cells: an algorithm on threads that take turns, until the last tolerance, divergence, or the budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.comm import lockstep
from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.consensus.graph_channel import GraphChannel
from mpiopt.objective.objective import Model
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.cells import run_cells
from mpiopt.studies.decentralised.job import DecentralisedCell, DecentralisedStudy, algorithm_of, graph_of
from mpiopt.studies.decentralised.problems import GraphProblem, Regression, read
from mpiopt.studies.stepsize.synthetic import data

LOST = 1e12  # times the first suboptimality: the run has diverged


@dataclass(frozen=True)
class DecentralisedOutcome:
    """A run. All lists have one entry for the start and one for each iteration."""

    cell: DecentralisedCell
    gaps: list[float]  # (F − F*)/(F(0) − F*) at the worst rank
    epochs: list[float]
    rounds: list[int]  # along the graph, without those in which a coordinator learns the graph
    edges: int  # messages of a round
    megabytes: list[float]  # sent along all edges
    refused: str = ""  # why the algorithm cannot run on this graph

    def at(self, tol: float) -> int | None:
        """Return the first iteration within the tolerance."""
        return next((k for k, gap in enumerate(self.gaps) if gap <= tol), None)

    @property
    def diverged(self) -> bool:
        """Whether the run was stopped because it diverges."""
        return not self.gaps[-1] < LOST

    def ending(self, tol: float) -> str:
        """Return iterations/epochs/messages in thousands/MB to the tolerance, or how the run ended."""
        k = self.at(tol)
        if self.refused:
            return "refused"
        if k is None:
            return "diverges" if self.diverged else f"only {self.gaps[-1]:.0e}"
        return f"{k}/{self.epochs[k]:.0f}/{self.rounds[k] * self.edges / 1000:.1f}k/{self.megabytes[k]:.2f}"

    def text(self, tol: float) -> str:
        """Return the cell and how it ended."""
        c = self.cell
        return f"n={c.ranks} {c.topology} spread {c.spread:g} {c.algorithm}: {self.ending(tol)}"


def run(job: DecentralisedStudy, comm: Comm, stop: StopSignal) -> list[DecentralisedOutcome]:
    """Run this rank's cells and return the outcomes of all ranks, in the order of the job."""

    def describe(o: DecentralisedOutcome, seconds: float) -> str:
        return f"{o.text(min(job.tols))}  ({seconds:.1f} s)"

    if job.data and not Path(job.data).is_file():
        if comm.rank == 0:
            print(f"{job.data}: no such file; the study is skipped")
        return []
    return run_cells(job.cells, lambda cell: solve(cell, job), describe, comm, stop)


def solve(cell: DecentralisedCell, study: DecentralisedStudy) -> DecentralisedOutcome:
    """Run a cell."""
    problem = problem_of(cell, study)
    try:
        return lockstep.spmd(cell.ranks, lambda comm: follow(cell, study, problem, comm), timeout=600.0)[0]
    except ValueError as error:  # the graph has no weights that the algorithm needs
        return DecentralisedOutcome(cell, [1.0], [0.0], [0], 0, [0.0], str(error))


def problem_of(cell: DecentralisedCell, study: DecentralisedStudy) -> GraphProblem:
    """Return what the ranks of a cell minimise."""
    if study.data:
        return read(study.data, cell.ranks, study.seed)
    rng = np.random.default_rng([study.seed, cell.ranks])
    return Regression(data(cell.ranks, study.rows, study.features, study.condition, cell.spread, rng))


def follow(
    cell: DecentralisedCell, study: DecentralisedStudy, problem: GraphProblem, comm: Comm
) -> DecentralisedOutcome:
    """Run one rank. The exchanges by which the study observes all ranks are not counted."""
    objective, algorithm = problem.objective(comm), algorithm_of(cell)
    channel = algorithm.run_channel(Channel(comm, study.seed))
    rounds, edges = channel.traffic.rounds, graph_of(cell).messages
    sent = channel.coordination.spent.bytes_sent if isinstance(channel, GraphChannel) else 0
    state = algorithm.init(objective, channel)
    outcome = DecentralisedOutcome(cell, [1.0], [0.0], [0], edges, [0.0])
    while outcome.gaps[-1] > min(study.tols) and len(outcome.gaps) <= study.max_iterations and not outcome.diverged:
        try:
            epochs = algorithm.step(len(outcome.gaps) - 1, state, objective, channel).epochs
            gap = problem.gap(model_of(state)[0, : problem.features])
        except ValueError:  # on all ranks alike: the steps are too long
            epochs, gap = 0.0, LOST
        every = np.array(comm.allgather(np.array([gap if gap < LOST else LOST, bytes_of(state) - sent])))
        outcome.gaps.append(float(every[:, 0].max()))
        outcome.epochs.append(outcome.epochs[-1] + epochs)
        outcome.rounds.append(channel.traffic.rounds - rounds)
        outcome.megabytes.append(float(every[:, 1].sum()) / 1e6)
    return outcome


def model_of(state: Any) -> Model:
    """Return the model of this rank, which may differ between ranks."""
    return np.asarray(state.model if hasattr(state, "model") else state.w)


def bytes_of(state: Any) -> int:
    """Return the bytes that this rank sent along the graph so far."""
    network = state.network
    if hasattr(network, "coordination"):
        return int(network.coordination.spent.bytes_sent)
    return int(network.neighbours.bytes_sent)
