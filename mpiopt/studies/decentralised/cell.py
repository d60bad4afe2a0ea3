"""One cell: an algorithm on threads that take turns, until the last tolerance, divergence, or the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.comm import lockstep
from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.consensus.graph_channel import GraphChannel
from mpiopt.data.row_formats import padded_width
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Model, Objective
from mpiopt.objective.penalties.base import Penalty
from mpiopt.studies.decentralised.job import DecentralisedCell, DecentralisedStudy, algorithm_of, graph_of
from mpiopt.studies.stepsize.synthetic import Part, Vector, data, whole

LOST = 1e12  # times the first suboptimality: the run diverged


@dataclass(frozen=True)
class DecentralisedOutcome:
    """A run; all lists from the start on, one entry an iteration."""

    cell: DecentralisedCell
    gaps: list[float]  # (F − F*)/(F(0) − F*) of the worst rank
    epochs: list[float]
    rounds: list[int]  # along the graph; those in which a coordinator learned it not counted
    edges: int  # messages of a round
    megabytes: list[float]  # sent along all edges
    refused: str = ""  # why the algorithm does not go along this graph

    def at(self, tol: float) -> int | None:
        """Give the first iteration within the tolerance."""
        return next((k for k, gap in enumerate(self.gaps) if gap <= tol), None)

    @property
    def diverged(self) -> bool:
        """Whether it was given up."""
        return not self.gaps[-1] < LOST


def solve(cell: DecentralisedCell, study: DecentralisedStudy) -> DecentralisedOutcome:
    """Run a cell."""
    rng = np.random.default_rng([study.seed, cell.ranks])
    parts = data(cell.ranks, study.rows, study.features, study.condition, cell.spread, rng)
    try:
        return lockstep.spmd(cell.ranks, lambda comm: follow(cell, study, parts, comm), timeout=600.0)[0]
    except ValueError as error:  # there are no such weights
        return DecentralisedOutcome(cell, [1.0], [0.0], [0], 0, [0.0], str(error))


def follow(
    cell: DecentralisedCell, study: DecentralisedStudy, parts: Sequence[Part], comm: Comm
) -> DecentralisedOutcome:
    """Run a rank. What the study exchanges to look at all ranks counts to nothing."""
    problem, objective, algorithm = whole(parts), posed(*parts[comm.rank], comm), algorithm_of(cell)
    channel = algorithm.run_channel(Channel(comm, study.seed))
    rounds, edges = channel.traffic.rounds, graph_of(cell).messages
    sent = channel.coordination.spent.bytes_sent if isinstance(channel, GraphChannel) else 0
    state = algorithm.init(objective, channel)
    seen = DecentralisedOutcome(cell, [1.0], [0.0], [0], edges, [0.0])
    while seen.gaps[-1] > min(study.tols) and len(seen.gaps) <= study.max_iterations and not seen.diverged:
        try:
            epochs = algorithm.step(len(seen.gaps) - 1, state, objective, channel).epochs
            gap = problem.gap(model_of(state)[0, : study.features])
        except ValueError:  # on all ranks: the steps are too long
            epochs, gap = 0.0, LOST
        every = np.array(comm.allgather(np.array([gap if gap < LOST else LOST, bytes_of(state) - sent])))
        seen.gaps.append(float(every[:, 0].max()))
        seen.epochs.append(seen.epochs[-1] + epochs)
        seen.rounds.append(channel.traffic.rounds - rounds)
        seen.megabytes.append(float(every[:, 1].sum()) / 1e6)
    return seen


def posed(a: Vector, b: Vector, comm: Comm) -> Objective:
    """Give least squares on the rows of a rank; all ranks have as many."""
    n, d = a.shape
    x = np.zeros((n, padded_width(d)))
    x[:, :d] = a
    shard = Shard(DenseRows(x), b, np.ones(n), np.arange(n), n * comm.rank, n * comm.size, d)
    return Objective(Loss.make("squared"), Penalty.make("none"), shard)


def model_of(state: Any) -> Model:
    """Give the model of this rank, also where the ranks' models differ."""
    return np.asarray(state.model if hasattr(state, "model") else state.w)


def bytes_of(state: Any) -> int:
    """Give what this rank sent along the graph so far."""
    network = state.network
    if hasattr(network, "coordination"):
        return int(network.coordination.spent.bytes_sent)
    return int(network.neighbours.bytes_sent)
