"""The star: the graph of a parameter server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mpiopt.topologies import Topology


@dataclass(frozen=True)
class Star(Topology):
    """All send to the hub and the hub to all: diameter 2, and size - 1 messages for one rank."""

    name = "star"

    hub: int = 0

    def __post_init__(self) -> None:
        if self.hub < 0:
            raise ValueError(f"hub must be a rank, not {self.hub}")

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Give all ranks to the hub, and the hub to the others."""
        if self.hub >= size:
            raise ValueError(f"the star's hub {self.hub} is none of the {size} ranks")
        return [range(size) if rank == self.hub else [self.hub] for rank in range(size)]
