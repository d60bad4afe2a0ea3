"""The complete graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mpiopt.topologies import Topology


@dataclass(frozen=True)
class Complete(Topology):
    """Each rank sends to all others: diameter 1, size (size - 1) messages a round."""

    name = "complete"

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Give all ranks."""
        return [range(size) for _ in range(size)]
