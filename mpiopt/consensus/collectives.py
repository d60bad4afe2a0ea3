"""Sums, means, maxima and minima along a graph of the communicator, with one coordinator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mpiopt.comm.base import Neighbours
from mpiopt.consensus.coordinators.base import Agreed, Array, Coordinator, Estimate, Protocol, R, Site
from mpiopt.consensus.coordinators.max_consensus import maximum, minimum
from mpiopt.consensus.discovery import discover
from mpiopt.consensus.protocol_driver import ProtocolCost, run


class Total(NamedTuple):
    """What this rank spent so far, and how much of it to learn the graph."""

    rounds: int
    bytes_sent: int
    rounds_to_learn: int
    bytes_to_learn: int


class Coordination:
    """A coordinator at work on a graph: learns it when made, and uses what was learned in every call.

    Collective: all ranks make it and call it in the same order, with arrays of equal shape. It needs no central
    exchange: size and diameter are discovered along the graph.
    """

    def __init__(self, coordinator: Coordinator, neighbours: Neighbours, seed: int = 0) -> None:
        self.coordinator, self._neighbours = coordinator, neighbours
        self._calls = 0
        self.spent = Total(0, 0, 0, 0)
        found, _ = self._run(discover(neighbours.rank, neighbours.incoming))
        self.graph = found.graph
        self.site = Site(neighbours.rank, found.graph.size, found.diameter, len(neighbours.outgoing))
        self.learned, _ = self._run(coordinator.learn(self.site, seed))
        self.spent = Total(*self.spent[:2], *self.spent[:2])

    def sum(self, x: Array, divisor: int = 1) -> Agreed:
        """Give Σ_k x_k / divisor, the same bits on all ranks, in the shape of x.

        Raises
        ------
        ArithmeticError
            On all ranks, if a rank brings NaN or infinity, or a result is beyond float64.
        RuntimeError
            If a message was lost or is from elsewhere. It must end all ranks: do not catch it.
        """
        flat = np.ascontiguousarray(x, np.float64).reshape(-1)
        estimate, spent = self._run(self.coordinator.sum(flat, divisor, self.site, self.learned))
        return _agreed(estimate, x, spent)

    def mean(self, x: Array) -> Agreed:
        """Give the mean over the ranks; errors as in `sum`."""
        return self.sum(x, self.site.size)

    def max(self, x: Array) -> Agreed:
        """Give the maximum over the ranks, exact; NaN wins."""
        value, spent = self._run(maximum(np.atleast_1d(x), self.site))
        return _agreed(Estimate(value, 0.0, "max-consensus"), x, spent)

    def min(self, x: Array) -> Agreed:
        """Give the minimum over the ranks, exact; NaN wins."""
        value, spent = self._run(minimum(np.atleast_1d(x), self.site))
        return _agreed(Estimate(value, 0.0, "min-consensus"), x, spent)

    def _run(self, protocol: Protocol[R]) -> tuple[R, ProtocolCost]:
        self._calls += 1
        result, spent = run(protocol, self._neighbours, f"{self.coordinator!r} call {self._calls}")
        rounds, nbytes = self.spent[0] + spent.rounds, self.spent[1] + spent.bytes_sent
        self.spent = self.spent._replace(rounds=rounds, bytes_sent=nbytes)
        return result, spent


def _agreed(estimate: Estimate, x: Array, spent: ProtocolCost) -> Agreed:
    return Agreed(estimate.value.reshape(np.shape(x)), estimate.error, estimate.by, *spent)
