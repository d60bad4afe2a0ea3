"""The ring in both directions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mpiopt.topologies import Topology


@dataclass(frozen=True)
class RingBoth(Topology):
    """Each rank sends to the next and to the one before: diameter ⌊size/2⌋."""

    name = "ring-both"

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Give i ± 1."""
        return [[(rank + 1) % size, (rank - 1) % size] for rank in range(size)]
