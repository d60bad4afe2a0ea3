"""Sums that know which ranks share a node: within each node first, then between the nodes.

Ranks are added as a tree: two neighbours, then two pairs, and so on. Consecutive ranks of one node are some whole
subtrees, mostly one. A node adds these, and only their sums travel. So the result has the bits of the flat sum,
wherever the ranks run; R ranks of a node send 1/R of what they would send to other nodes otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from mpiopt.comm.base import Array


class Subtree(NamedTuple):
    """The ranks from `start` to before start + 2^height, of those that there are: neighbours, joined by pairs."""

    start: int  # a multiple of 2^height
    height: int


def subtrees(start: int, end: int) -> list[Subtree]:
    """Return the largest subtrees that the ranks from `start` to before `end` consist of."""
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        while start % (1 << height):
            height -= 1
        found.append(Subtree(start, height))
        start += 1 << height
    return found


def add_subtrees(operation: Callable[..., Array], parts: Iterable[tuple[Subtree, Array]]) -> list[Array]:
    """Combine the values of neighbouring subtrees, in rank order; return the values of the largest that result."""
    done: list[tuple[Subtree, Array]] = []
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is judged where it is used
        for tree, value in parts:
            joined = tree, value
            while done and done[-1][0].height == joined[0].height and not _begins(joined[0]):
                left, before = done.pop()
                out = np.empty_like(before) if left.height == 0 else before  # a leaf belongs to its rank
                joined = Subtree(left.start, left.height + 1), operation(before, joined[1], out=out)
            done.append(joined)
    return [value for _, value in done]


def _begins(tree: Subtree) -> bool:
    """Return whether the subtree is the first half of the next larger one."""
    return not tree.start >> tree.height & 1


def pairwise(operation: Callable[..., Array], parts: Sequence[Array]) -> Array:
    """Combine the arrays of all ranks, of one shape, as a tree: the same bits on every rank."""
    return _joined(operation, [(Subtree(rank, 0), part) for rank, part in enumerate(parts)])


def _joined(operation: Callable[..., Array], parts: Iterable[tuple[Subtree, Array]]) -> Array:
    """Combine the values of the subtrees of all ranks; the last subtrees may lack ranks."""
    values = add_subtrees(operation, parts)
    total = np.array(values.pop(), copy=True)
    with np.errstate(over="ignore", invalid="ignore"):
        while values:
            operation(values.pop(), total, out=total)
    return total


@dataclass(frozen=True)
class Nodes:
    """Blocks of consecutive ranks that share a host; a host whose ranks do not follow each other has several."""

    starts: tuple[int, ...]  # the first rank of each block, and last the number of ranks

    @classmethod
    def of(cls, hosts: Sequence[object]) -> Nodes:
        """Return the blocks of ranks on these hosts, given in rank order."""
        lengths = [len(list(same)) for _, same in groupby(hosts)]
        return cls((0, *np.cumsum(lengths, dtype=int).tolist()))

    @property
    def matter(self) -> bool:
        """Whether there are several nodes, and one of them has several ranks."""
        return 1 < len(self.starts) - 1 < self.starts[-1]

    @property
    def count(self) -> int:
        """The number of blocks."""
        return len(self.starts) - 1

    @property
    def adders(self) -> int:
        """How many ranks of each node add a slice each and send it to the other nodes: those of the smallest node."""
        return min(len(self.ranks(k)) for k in range(self.count))

    def ranks(self, k: int) -> range:
        """Return the ranks of block k."""
        return range(self.starts[k], self.starts[k + 1])

    def subtrees(self, k: int) -> list[Subtree]:
        """Return the subtrees of block k."""
        return subtrees(self.starts[k], self.starts[k + 1])

    def of_rank(self, rank: int) -> int:
        """Return the block of a rank."""
        return next(k for k in range(self.count) if rank < self.starts[k + 1])

    def add_own(self, k: int, parts: Sequence[Array]) -> Array:
        """Add the parts of the ranks of block k; return one row for each subtree."""
        leaves = [Subtree(rank, 0) for rank in self.ranks(k)]
        return np.stack(add_subtrees(np.add, zip(leaves, parts, strict=True)))

    def add_all(self, rows: Iterable[Array]) -> Array:
        """Add the rows of the subtrees of all blocks, in rank order."""
        trees = [tree for k in range(self.count) for tree in self.subtrees(k)]
        return _joined(np.add, zip(trees, rows, strict=True))
