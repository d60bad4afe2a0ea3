"""The static exponential graph (Assran, Loizou, Ballas, Rabbat 2019, "Stochastic Gradient Push", section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mpiopt.topologies import Topology


@dataclass(frozen=True)
class Exponential(Topology):
    """Rank i sends to i + 1, i + 2, i + 4, …: degree and diameter ⌈log₂ size⌉."""

    name = "exponential"

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Give i + 2^k for all 2^k < size."""
        hops = [1 << k for k in range((size - 1).bit_length())]
        return [[(rank + hop) % size for hop in hops] for rank in range(size)]
