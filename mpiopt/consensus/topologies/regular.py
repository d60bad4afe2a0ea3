"""Topologies without randomness: complete, exponential, ring, ring in both directions, star, torus."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.job import at_least


@dataclass(frozen=True)
class Complete(Topology):
    """Each rank sends to all others: diameter 1, size (size - 1) messages a round."""

    name = "complete"

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Return all ranks for each rank."""
        return [range(size) for _ in range(size)]


@dataclass(frozen=True)
class Exponential(Topology):
    """Rank i sends to i + 1, i + 2, i + 4, …: degree and diameter ⌈log₂ size⌉.

    The static exponential graph of M. Assran, N. Loizou, N. Ballas, M. Rabbat, "Stochastic gradient push", ICML 2019,
    section 4.
    """

    name = "exponential"

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Return i + 2^k for all 2^k < size."""
        hops = [1 << k for k in range((size - 1).bit_length())]
        return [[(rank + hop) % size for hop in hops] for rank in range(size)]


@dataclass(frozen=True)
class Ring(Topology):
    """Each rank sends to the next one: one message a rank and round, diameter size - 1."""

    name = "ring"

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Return i + 1."""
        return [[(rank + 1) % size] for rank in range(size)]


@dataclass(frozen=True)
class RingBoth(Topology):
    """Each rank sends to the next one and to the one before: diameter ⌊size/2⌋."""

    name = "ring-both"

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Return i + 1 and i - 1."""
        return [[(rank + 1) % size, (rank - 1) % size] for rank in range(size)]


@dataclass(frozen=True)
class Star(Topology):
    """All ranks send to the hub and the hub to all: diameter 2, and size - 1 messages for one rank.

    Parameters
    ----------
    hub
        The rank in the centre.
    """

    name = "star"

    hub: int = 0

    def __post_init__(self) -> None:
        at_least("hub", self.hub, 0)

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Return all ranks for the hub, and the hub for every other rank."""
        if self.hub >= size:
            raise ValueError(f"star: hub must be a rank below {size}, not {self.hub}")
        return [range(size) if rank == self.hub else [self.hub] for rank in range(size)]


@dataclass(frozen=True)
class Torus(Topology):
    """A grid of rows and columns that wraps around; each rank sends to its four neighbours.

    Parameters
    ----------
    rows
        Number of rows; 0: as square as size allows.
    """

    name = "torus"

    rows: int = 0

    def __post_init__(self) -> None:
        if self.rows < 0:
            raise ValueError(f"rows must be at least 1, or 0 for as square as possible, not {self.rows}")

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Return the neighbours along the row and along the column."""
        rows = self.rows or next(r for r in range(math.isqrt(size), 0, -1) if size % r == 0)
        if size % rows:
            raise ValueError(f"a torus of {rows} rows does not fit {size} ranks: {size} is no multiple of {rows}")
        columns = size // rows
        return [
            [
                (i + down) % rows * columns + (j + right) % columns
                for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0))
            ]
            for i in range(rows)
            for j in range(columns)
        ]
