"""What threads and MPI share in reductions: how a sum is exchanged, and the count of what a call sends.

The sum of small vectors is one allgather. Large vectors are exchanged in slices; each rank sums its slice, and an
allgather collects the sums. Each rank then sends 2 (size - 1)/size of the vector, as the best Allreduce does
(Rabenseifner, ICCS 2004). On several nodes both are done within each node, then between the nodes
(`mpiopt.comm.nodes`).
"""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.comm.base import Array, Message
from mpiopt.comm.defaults import CommDefaults
from mpiopt.comm.nodes import Nodes
from mpiopt.core.partition import block

# Bytes received from the others, up to which the sum is one allgather. Through shared memory the allgather wins
# longer (2 ranks: up to 4 MB, 4 ranks: 64 KB), but it sends size/2 times as much, which counts on a network.
SMALL = 1 << 15


def is_small(nbytes: int, size: int) -> bool:
    """Return whether a vector of `nbytes` is summed by one allgather."""
    return nbytes * (size - 1) <= SMALL


def signature(x: Array) -> str:
    """Return what must be equal on all ranks where only the lengths along axis 0 may differ."""
    return f"{x.dtype.str}{list(x.shape[1:])}"


def slice_of(x: Array, size: int, rank: int) -> Array:
    """Return the part of the flat vector `x` that `rank` sums."""
    start, end = block(x.size, size, rank)
    return x.reshape(-1)[start:end]


class TrafficCounters(CommDefaults):
    """Counters of one rank: the payload that it sends to and receives from others; each receiver counts once.

    What an MPI library forwards inside a collective call, and the few bytes of headers, do not count.
    """

    def __init__(self, rank: int, size: int, nodes: Nodes | None = None) -> None:
        self.rank, self.size, self.nodes = rank, size, nodes
        self.bytes_sent = 0
        self.bytes_received = 0
        self.messages = 0

    def count_from_each(self, nbytes: Sequence[int]) -> None:
        """Count `nbytes[r]` received from rank r, nothing from this rank itself."""
        self.bytes_received += sum(nbytes) - nbytes[self.rank]

    def count_to_all(self, nbytes: int) -> None:
        """Count the same `nbytes` sent to every other rank."""
        self.bytes_sent += nbytes * (self.size - 1)
        self.messages += self.size - 1

    def count_to_one(self, nbytes: int, to: int) -> None:
        """Count a message to one rank, nothing if that is this rank itself."""
        if to != self.rank:
            self.bytes_sent += nbytes
            self.messages += 1

    def count_received(self, messages: Sequence[Message]) -> list[Message]:
        """Count messages received from other ranks, and return them all."""
        self.bytes_received += sum(m.payload.nbytes for m in messages if m.source != self.rank)
        return list(messages)

    def count_to_each(self, nbytes: Sequence[int]) -> None:
        """Count `nbytes[r]` sent to rank r, nothing where it is 0 or r is this rank itself."""
        away = [n for r, n in enumerate(nbytes) if r != self.rank and n]
        self.bytes_sent += sum(away)
        self.messages += len(away)

    def count_sum(self, x: Array) -> None:
        """Count a sum of vectors like `x`."""
        if self.nodes is not None:
            self._count_sum_over_nodes(x, self.nodes)
        elif is_small(x.nbytes, self.size):
            self.count_to_all(x.nbytes)
            self.count_from_each([x.nbytes] * self.size)
        else:
            slices = [slice_of(x, self.size, r).nbytes for r in range(self.size)]
            self.count_to_each(slices)
            self.count_from_each([slices[self.rank]] * self.size)
            self.count_to_all(slices[self.rank])
            self.count_from_each(slices)

    def _count_sum_over_nodes(self, x: Array, nodes: Nodes) -> None:
        """Count the three steps: to the adders of the node, between the nodes and back."""
        small, k = is_small(x.nbytes, self.size), nodes.of_rank(self.rank)
        adders = 1 if small else nodes.adders
        here, j = len(nodes.ranks(k)), self.rank - nodes.starts[k]
        own = slice_of(x, adders, j) if j < adders else x.reshape(-1)[:0]
        others = x.nbytes - own.nbytes
        self._count(others, adders - (j < adders), own.nbytes * (here - 1))
        if own.nbytes:
            rows = [len(nodes.subtrees(m)) for m in range(nodes.count)]
            mine = own if small else slice_of(own, nodes.count, k)
            away = own.nbytes * (nodes.count - 1) if small else own.nbytes - mine.nbytes
            self._count(rows[k] * away, nodes.count - 1, (sum(rows) - rows[k]) * mine.nbytes)
            if not small:
                self._count(mine.nbytes * (nodes.count - 1), nodes.count - 1, own.nbytes - mine.nbytes)
        self._count(own.nbytes * (here - 1), here - 1 if own.nbytes else 0, others)

    def _count(self, sent: int, messages: int, received: int) -> None:
        self.bytes_sent += sent
        self.messages += messages if sent else 0
        self.bytes_received += received
