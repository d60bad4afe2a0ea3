"""What both forms of talking along a graph share: the envelope of a message, and the count of what is sent."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from mpiopt.comm.base import Array, Comm
from mpiopt.comm.reduction import Sent, signature

HEADER = 24  # bytes before the payload: tag, its length, what it is made of; little-endian uint64 each


def seal(x: Array, tag: int) -> Array:
    """Give `x` as bytes with a header."""
    wire = np.empty(HEADER + x.nbytes, np.uint8)
    wire[:HEADER].view("<u8")[:] = header(x, tag)
    wire[HEADER:] = x.reshape(-1).view(np.uint8)
    return wire


def header(x: Array, tag: int) -> tuple[int, int, int]:
    """Give what is written before `x`."""
    return tag, x.nbytes, zlib.crc32(signature(x).encode())


def unseal(wire: Array, like: Array, tag: int, source: int, here: int) -> Array:
    """Give the array in an envelope; its length on axis 0 is the sender's.

    Raises RuntimeError where the tag or the kind is another one than here: a message was lost or is from elsewhere.
    """
    told = [int(word) for word in wire[:HEADER].view("<u8")]
    _, _, kind = header(like, tag)
    if told[0] != tag:
        raise RuntimeError(
            f"rank {here} is at message {tag:#x} and got {told[0]:#x} from rank {source}: one was lost"
        )
    if told[1] != wire.size - HEADER or told[2] != kind:
        raise RuntimeError(f"rank {here} awaits {signature(like)} like its own, rank {source} sent another kind")
    return wire[HEADER:].copy().view(like.dtype).reshape(-1, *like.shape[1:])


def all_equal(received: dict[int, Array], x: Array) -> dict[int, Array]:
    """Give what was received in the shape of `x`; refuse another length."""
    for source, part in received.items():
        if part.size != x.size:
            raise RuntimeError(f"rank {source} sent {part.size} numbers where {x.size} were awaited")
    return {source: part.reshape(x.shape) for source, part in received.items()}


def sources_of(comm: Comm, outgoing: Sequence[int]) -> tuple[int, ...]:
    """Tell the others where this rank sends; give the ranks that send here. A wrong neighbour is an error on all."""
    error = None
    try:
        check_neighbours(comm.rank, outgoing, comm.size)
    except ValueError as found:
        error = found
    comm.agree(error)
    every = comm.allgather(np.array(outgoing, np.int64))
    return tuple(rank for rank, theirs in enumerate(every) if comm.rank in theirs)


class Edges:
    """The edges at one rank, and the payload sent along them, each receiver counted once; also by the communicator.

    Headers of 24 bytes a message are not counted.
    """

    def __init__(self, sent: Sent, outgoing: Sequence[int], incoming: Sequence[int]) -> None:
        self.rank, self.size = sent.rank, sent.size
        self.outgoing, self.incoming = tuple(outgoing), tuple(incoming)
        self.bytes_sent = 0
        self.messages = 0
        self._sent = sent

    def count(self, nbytes: int) -> None:
        """Count one message of `nbytes` to each out-neighbour."""
        for counter in (self, self._sent):
            counter.bytes_sent += nbytes * len(self.outgoing)
            counter.messages += len(self.outgoing)

    def opened(self, wires: Iterable[Array], like: Array, tag: int) -> dict[int, Array]:
        """Give the arrays in the envelopes of the in-neighbours, ascending, and count them."""
        like = np.atleast_1d(like)
        found = {s: unseal(w, like, tag, s, self.rank) for s, w in zip(self.incoming, wires, strict=True)}
        self._sent.bytes_received += sum(x.nbytes for x in found.values())
        return found


def check_neighbours(rank: int, targets: Sequence[int], size: int) -> None:
    """Refuse neighbours that are no ranks, are the rank itself, or are not ascending."""
    if not all(0 <= t < size and t != rank for t in targets):
        raise ValueError(f"rank {rank} cannot send to {list(targets)}: its neighbours are other ranks below {size}")
    if any(a >= b for a, b in pairwise(targets)):
        raise ValueError(f"the neighbours of rank {rank} are to be ascending, each once, not {list(targets)}")
