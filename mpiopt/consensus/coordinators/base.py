"""Coordinators: protocols by which the ranks of a directed graph compute one sum, with the same bits on all of them.

A protocol is a generator. It yields what this rank sends to all its out-neighbours, and receives the list of what
its in-neighbours sent, ascending by rank. Its return value is the result. A protocol knows no communicator:
`mpiopt.consensus.protocol_driver.run` drives it along a graph of a communicator, and `run_together` drives all ranks
of a graph in one thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import Plugin
from mpiopt.core.config.spec import name_and_options

Array = NDArray[Any]
Vector = NDArray[np.float64]
R = TypeVar("R")


class AnyLength(NamedTuple):
    """A message whose length may differ between ranks."""

    x: Array


# Yields messages, receives those of the in-neighbours, returns R. A message is never changed after it was sent.
Protocol = Generator[Array | AnyLength, list[Array], R]


class RankView(NamedTuple):
    """What a rank knows of the graph."""

    rank: int
    size: int
    diameter: int  # in hops; an upper bound is enough
    outdegree: int


class Estimate(NamedTuple):
    """What a coordinator returns: the same bits on all ranks."""

    value: Vector
    error: float  # |value - Σ x_k / divisor| <= error · (size/divisor) · max_k |x_k|, elementwise
    by: str  # the coordinator that computed it; another one if the first would have been too inaccurate


class ConsensusResult(NamedTuple):
    """An estimate and what it cost this rank."""

    value: Array
    error: float  # as in Estimate
    by: str
    rounds: int
    bytes_sent: int


@dataclass(frozen=True)
class Coordinator(Plugin, ABC):
    """A plug-in that computes sums along a graph: protocol `learn` once for a graph, then protocol `sum` per sum.

    `sum` returns the same bits on all ranks or raises on all of them: ArithmeticError if a rank has NaN or infinity
    or if a result overflows float64, RuntimeError if messages were lost.

    Attributes
    ----------
    exact
        Whether the only error is the rounding of the result. Else an option or the graph decides the error.

    Examples
    --------
    The mean of three numbers on a ring of three ranks, all simulated in one thread:

    >>> import numpy as np
    >>> from mpiopt.consensus.coordinators.base import Coordinator
    >>> from mpiopt.consensus.simulated import Simulation
    >>> from mpiopt.consensus.topologies.base import Topology
    >>> ring = Topology.make("ring").graph(3)
    >>> found = Simulation(Coordinator.make("finite-field"), ring).mean([np.ones(1), np.zeros(1), 5 * np.ones(1)])
    >>> [float(one.value[0]) for one in found]
    [2.0, 2.0, 2.0]
    """

    exact: ClassVar[bool] = False

    @classmethod
    def from_text(cls, text: str) -> Coordinator:
        """Return the plug-in that a word of a job names, with its options, as in `ratio[epsilon=1e-9]`."""
        return cls.make(*name_and_options(text, cls.known()))

    def learn(self, view: RankView, seed: int) -> Protocol[Any]:
        """Learn what depends on the graph alone.

        Parameters
        ----------
        view
            What this rank knows of the graph.
        seed
            Seed of random numbers, equal on all ranks.

        Returns
        -------
        Protocol
            Returns what `sum` needs; the default sends nothing and returns None.
        """
        return no_messages(None)

    @abstractmethod
    def sum(self, x: Vector, divisor: int, view: RankView, learned: Any) -> Protocol[Estimate]:
        """Compute Σ_k x_k / divisor.

        Parameters
        ----------
        x
            This rank's numbers, shape (d,), d equal on all ranks.
        divisor
            1 for the sum, the number of ranks for the mean.
        view, learned
            What this rank knows of the graph, and what `learn` returned.

        Returns
        -------
        Protocol
            Returns the `Estimate`.
        """

    def rounds(self, view: RankView, learned: Any) -> int | None:
        """Return the number of rounds of `sum`; None, the default, if it depends on the data."""
        return None


def no_messages(result: R) -> Protocol[R]:
    """Return the protocol that sends nothing and returns `result`."""
    return result
    yield
