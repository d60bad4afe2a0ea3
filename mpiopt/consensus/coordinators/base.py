"""Coordinators: how ranks that talk along a directed graph alone come to one sum, the same bits on all of them.

A protocol is a generator: it yields what this rank sends to all its out-neighbours and gets the list of what its
in-neighbours sent, ascending by rank; what it returns is the result. It knows no communicator: `rounds.run` drives it
along a graph of the communicator, `simulated.together` drives all ranks of a graph in one thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import Plugin

Array = NDArray[Any]
Vector = NDArray[np.float64]
R = TypeVar("R")


class AnyLength(NamedTuple):
    """A message whose length may differ between ranks."""

    x: Array


# What it sends, what it gets, what it returns. Messages are not changed after they were sent or received.
Protocol = Generator[Array | AnyLength, list[Array], R]


class Site(NamedTuple):
    """What a rank knows of the graph."""

    rank: int
    size: int
    diameter: int  # in hops; an upper bound serves, too
    outdegree: int


class Estimate(NamedTuple):
    """What a coordinator gives: the same bits on all ranks."""

    value: Vector
    error: float  # |value - Σ x_k / divisor| <= error · (size/divisor) · max_k |x_k|, elementwise
    by: str  # the coordinator that gave it: another one where the first would have been too inexact


class Agreed(NamedTuple):
    """An estimate and what it cost this rank."""

    value: Array
    error: float
    by: str
    rounds: int
    bytes_sent: int


@dataclass(frozen=True)
class Coordinator(Plugin, ABC):
    """A plug-in with two protocols: `learn`, once for a graph, and `sum`, with what was learned.

    Whatever happens, `sum` gives the same bits on all ranks, or raises on all of them: ArithmeticError where a rank
    brings NaN or infinity or a result is beyond float64, RuntimeError where messages were lost.
    """

    exact: ClassVar[bool] = False  # to the rounding of a result; else its error is an option's, or the graph's

    def learn(self, site: Site, seed: int) -> Protocol[Any]:
        """Learn what depends on the graph alone, nothing by default; `seed` is equal on all ranks."""
        return silence(None)

    @abstractmethod
    def sum(self, x: Vector, divisor: int, site: Site, learned: Any) -> Protocol[Estimate]:
        """Give Σ_k x_k / divisor, x flat, of equal length on all ranks: the mean with divisor = size."""

    def rounds(self, site: Site, learned: Any) -> int | None:
        """Give the rounds that `sum` takes; None, the default, where they depend on the data."""
        return None


def silence(result: R) -> Protocol[R]:
    """Give the protocol that sends nothing and returns `result`."""
    return result
    yield
