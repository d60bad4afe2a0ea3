"""What both forms of the verbs share: reduction in rank order, and the count of what a verb sends.

A sum of small vectors is one allgather, of large ones an exchange of slices and an allgather of the sums: each rank
then sends 2 (size - 1)/size of the vector, as the best Allreduce does (Rabenseifner, ICCS 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mpiopt.comm.base import Array, Message
from mpiopt.comm.errors import AgreesOnErrors
from mpiopt.core.partition import block

# Through shared memory the allgather wins longer (2 ranks: up to 4 MB, 4 ranks: 64 KB), but it sends size/2 times as
# much, which counts on a link.
SMALL = 1 << 15  # bytes received from the others


def in_order(operation: Callable[..., Array], parts: Sequence[Array]) -> Array:
    """Reduce equal-shaped arrays from the first to the last: the same bits wherever it is computed."""
    total = np.array(parts[0], copy=True)
    for part in parts[1:]:
        operation(total, part, out=total)
    return total


def is_small(nbytes: int, size: int) -> bool:
    """Say whether a vector of `nbytes` is summed by one allgather."""
    return nbytes * (size - 1) <= SMALL


def signature(x: Array) -> str:
    """Give what must be equal on all ranks where only the lengths of axis 0 may differ."""
    return f"{x.dtype.str}{list(x.shape[1:])}"


class Sent(AgreesOnErrors):
    """Counters of one rank: the payload it hands to others, each receiver counted once.

    How an MPI library forwards inside a collective, and the few bytes of headers, are not counted.
    """

    library: str = ""  # the words of the MPI library, if there is one
    unsaid: str = ""  # an error with which the command ended here; rank 0 tells it for all
    tolerant: bool = False  # whether a lost rank is an error of the verbs, and not the end of all

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
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
        """Count a message to one rank, nothing where that is this rank itself."""
        if to != self.rank:
            self.bytes_sent += nbytes
            self.messages += 1

    def count_letters(self, letters: Sequence[Message]) -> list[Message]:
        """Count messages received from others, and give them."""
        self.bytes_received += sum(wire.nbytes for source, wire in letters if source != self.rank)
        return list(letters)

    def count_to_each(self, nbytes: Sequence[int]) -> None:
        """Count `nbytes[r]` sent to rank r, nothing where it is 0 or this rank itself."""
        away = [n for r, n in enumerate(nbytes) if r != self.rank and n]
        self.bytes_sent += sum(away)
        self.messages += len(away)

    def count_sum(self, x: Array) -> None:
        """Count a sum of vectors like `x`."""
        if is_small(x.nbytes, self.size):
            self.count_to_all(x.nbytes)
            self.count_from_each([x.nbytes] * self.size)
            return
        slices = [slice_of(x, self.size, r).nbytes for r in range(self.size)]
        self.count_to_each(slices)
        self.count_from_each([slices[self.rank]] * self.size)
        self.count_to_all(slices[self.rank])
        self.count_from_each(slices)


def slice_of(x: Array, size: int, rank: int) -> Array:
    """Give the part of the flat vector `x` that `rank` adds up."""
    start, end = block(x.size, size, rank)
    return x.reshape(-1)[start:end]
