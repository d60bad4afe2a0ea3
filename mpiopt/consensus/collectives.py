"""Sums, means and maxima over the ranks along a graph of the communicator, by one coordinator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mpiopt.comm.base import Neighbours
from mpiopt.consensus.coordinators.base import Array, ConsensusResult, Coordinator, Estimate, Protocol, R, RankView
from mpiopt.consensus.coordinators.max_consensus import maximum
from mpiopt.consensus.discovery import discover
from mpiopt.consensus.protocol_driver import ProtocolCost, run


class CoordinationCost(NamedTuple):
    """What this rank spent so far, and which part of it to learn the graph."""

    rounds: int
    bytes_sent: int
    rounds_to_learn: int
    bytes_to_learn: int


class Coordination:
    """A coordinator in use on a graph. It learns the graph once, when it is made. Collective.

    All ranks make it and call its methods in the same order, with arrays of equal shape. No central exchange is
    needed: size and diameter are discovered along the graph.

    Parameters
    ----------
    coordinator
        How sums are computed.
    neighbours
        The edges of this rank.
    seed
        Seed of the random numbers with which the coordinator learns the graph; equal on all ranks.
    """

    def __init__(self, coordinator: Coordinator, neighbours: Neighbours, seed: int = 0) -> None:
        self.coordinator, self._neighbours = coordinator, neighbours
        self._calls = 0
        self.spent = CoordinationCost(0, 0, 0, 0)
        discovered, _ = self._run(discover(neighbours.rank, neighbours.incoming))
        self.graph = discovered.graph
        self.view = RankView(neighbours.rank, discovered.graph.size, discovered.diameter, len(neighbours.outgoing))
        self.learned, _ = self._run(coordinator.learn(self.view, seed))
        self.spent = CoordinationCost(*self.spent[:2], *self.spent[:2])

    def sum(self, x: Array, divisor: int = 1) -> ConsensusResult:
        """Return Σ_k x_k / divisor in the shape of x, with the same bits on all ranks.

        Raises
        ------
        ArithmeticError
            On all ranks, if a rank has NaN or infinity, or if a result overflows float64.
        RuntimeError
            If a message was lost or belongs to another call. The run must end: do not catch it.
        """
        flat = np.ascontiguousarray(x, np.float64).reshape(-1)
        estimate, cost = self._run(self.coordinator.sum(flat, divisor, self.view, self.learned))
        return _result(estimate, x, cost)

    def mean(self, x: Array) -> ConsensusResult:
        """Return the mean over the ranks; errors as in `sum`."""
        return self.sum(x, self.view.size)

    def max(self, x: Array) -> ConsensusResult:
        """Return the exact maximum over the ranks; NaN if a rank has NaN."""
        value, cost = self._run(maximum(np.atleast_1d(x), self.view))
        return _result(Estimate(value, 0.0, "max-consensus"), x, cost)

    def _run(self, protocol: Protocol[R]) -> tuple[R, ProtocolCost]:
        self._calls += 1
        result, cost = run(protocol, self._neighbours, f"{self.coordinator!r} call {self._calls}")
        rounds, nbytes = self.spent.rounds + cost.rounds, self.spent.bytes_sent + cost.bytes_sent
        self.spent = self.spent._replace(rounds=rounds, bytes_sent=nbytes)
        return result, cost


def _result(estimate: Estimate, x: Array, cost: ProtocolCost) -> ConsensusResult:
    return ConsensusResult(estimate.value.reshape(np.shape(x)), estimate.error, estimate.by, *cost)
