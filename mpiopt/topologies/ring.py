"""The directed ring."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mpiopt.topologies import Topology


@dataclass(frozen=True)
class Ring(Topology):
    """Each rank sends to the next one: one message a rank and round, diameter size - 1."""

    name = "ring"

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Give i + 1."""
        return [[(rank + 1) % size] for rank in range(size)]
