"""What threads and MPI share when they exchange along a graph: the header of a message, and the counters."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from mpiopt.comm.base import Array, Comm
from mpiopt.comm.reduction import TrafficCounters, signature

HEADER = 24  # bytes before the payload: tag, payload bytes, checksum of type and shape; little-endian uint64 each


def with_header(x: Array, tag: int) -> Array:
    """Return a message: the header and the bytes of `x`."""
    message = np.empty(HEADER + x.nbytes, np.uint8)
    message[:HEADER].view("<u8")[:] = header(x, tag)
    message[HEADER:] = x.reshape(-1).view(np.uint8)
    return message


def header(x: Array, tag: int) -> tuple[int, int, int]:
    """Return the three numbers of the header of `x`."""
    return tag, x.nbytes, zlib.crc32(signature(x).encode())


def without_header(message: Array, like: Array, tag: int, source: int, here: int) -> Array:
    """Return the array of a message from rank `source`; its length along axis 0 is the sender's.

    Raises
    ------
    RuntimeError
        If tag or type are not those of this rank, `here`: a message was lost, or the sender is in another round.
    """
    found_tag, nbytes, found_kind = (int(word) for word in message[:HEADER].view("<u8"))
    _, _, kind = header(like, tag)
    if found_tag != tag:
        raise RuntimeError(
            f"rank {here} is at message {tag:#x} and received {found_tag:#x} from rank {source}: a message was lost"
        )
    if nbytes != message.size - HEADER or found_kind != kind:
        raise RuntimeError(f"rank {here} expects {signature(like)} like its own; rank {source} sent another type")
    return message[HEADER:].copy().view(like.dtype).reshape(-1, *like.shape[1:])


def shaped_like(received: dict[int, Array], x: Array) -> dict[int, Array]:
    """Return what was received in the shape of `x`; another length is a RuntimeError."""
    for source, part in received.items():
        if part.size != x.size:
            raise RuntimeError(f"rank {source} sent {part.size} numbers; {x.size} were expected")
    return {source: part.reshape(x.shape) for source, part in received.items()}


def find_sources(comm: Comm, outgoing: Sequence[int]) -> tuple[int, ...]:
    """Return the ranks that send to this one; a wrong target is a ValueError on all ranks."""
    with comm.agree_on_errors():
        check_neighbours(comm.rank, outgoing, comm.size)
    every = comm.allgather(np.array(outgoing, np.int64))
    return tuple(rank for rank, theirs in enumerate(every) if comm.rank in theirs)


class GraphEdges:
    """The edges at one rank, and the payload sent along them, which also counts for the communicator.

    Each receiver counts once. The headers, 24 bytes a message, do not count.
    """

    def __init__(self, counters: TrafficCounters, outgoing: Sequence[int], incoming: Sequence[int]) -> None:
        self.rank, self.size = counters.rank, counters.size
        self.outgoing, self.incoming = tuple(outgoing), tuple(incoming)
        self.bytes_sent = 0
        self.messages = 0
        self._counters = counters

    def count(self, nbytes: int) -> None:
        """Count one message of `nbytes` to each out-neighbour."""
        for counter in (self, self._counters):
            counter.bytes_sent += nbytes * len(self.outgoing)
            counter.messages += len(self.outgoing)

    def open_messages(self, messages: Iterable[Array], like: Array, tag: int) -> dict[int, Array]:
        """Return the arrays in the messages of the in-neighbours, ascending, and count them."""
        like = np.atleast_1d(like)
        arrays = {
            source: without_header(message, like, tag, source, self.rank)
            for source, message in zip(self.incoming, messages, strict=True)
        }
        self._counters.bytes_received += sum(x.nbytes for x in arrays.values())
        return arrays


def check_neighbours(rank: int, targets: Sequence[int], size: int) -> None:
    """Raise ValueError unless the targets of `rank` are other ranks below `size`, ascending."""
    if not all(0 <= t < size and t != rank for t in targets):
        raise ValueError(f"rank {rank} cannot send to {list(targets)}: neighbours must be other ranks below {size}")
    if any(a >= b for a, b in pairwise(targets)):
        raise ValueError(f"the neighbours of rank {rank} must be ascending, each once, not {list(targets)}")
