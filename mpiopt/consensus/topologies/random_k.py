"""Random directed graphs that contain a ring and so are strongly connected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.job import at_least
from mpiopt.core.rng import generator


@dataclass(frozen=True)
class RandomK(Topology):
    """A random ring through all ranks, and for each rank random targets up to k; in-degrees differ.

    Parameters
    ----------
    k
        Out-degree of each rank, at most size - 1.
    seed
        Seed of the random graph.
    """

    name = "random-k"

    k: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("k", self.k, 1)
        at_least("seed", self.seed, 0)

    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Return for each rank its successor on the ring and min(k, size - 1) - 1 others."""
        rng = generator(self.seed, 0, size, 0)
        order = rng.permutation(size)
        successor = dict(zip(order.tolist(), [*order[1:].tolist(), int(order[0])], strict=True))
        lists = []
        for rank in range(size):
            others = [r for r in range(size) if r not in (rank, successor[rank])]
            more = min(self.k - 1, len(others))
            lists.append([successor[rank], *rng.permutation(others)[:more].tolist()])
        return lists
