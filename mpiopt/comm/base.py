"""The few verbs by which ranks talk: a contract, kept by threads of one process and by mpi4py."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

Array = NDArray[Any]
Message = tuple[int, Array]  # who sent it, and what


class Pending(Protocol):
    """An exchange under way."""

    def poll(self) -> bool:
        """Make progress; say whether `wait` would return at once."""
        ...

    def wait(self) -> Array:
        """Finish the exchange and give its result."""
        ...


class PendingExchange(Protocol):
    """An exchange along a graph under way."""

    def poll(self) -> bool:
        """Make progress; say whether `wait` would return at once."""
        ...

    def wait(self) -> dict[int, Array]:
        """Finish the exchange and give what the in-neighbours sent, by rank."""
        ...


class Neighbours(Protocol):
    """The edges of a directed graph at this rank. Its verbs are collective over all ranks of the graph.

    `tag` is a number < 2⁶⁴ that must be equal on both ends of an edge: a protocol numbers its rounds with it, so that
    a lost message, or a rank that is elsewhere, is a RuntimeError and never a wrong result. The error is of the
    ranks that notice it, and must end the others (a thread's error and `python -m mpi4py` do); do not catch it.
    """

    rank: int
    size: int
    outgoing: tuple[int, ...]  # this rank sends to them
    incoming: tuple[int, ...]  # they send to this rank; ascending, as in every result
    bytes_sent: int  # payload sent along the edges so far, each receiver counted once
    messages: int

    def exchange(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Send `x` to all out-neighbours; give what the in-neighbours sent. Equal shapes and types everywhere."""
        ...

    def start_exchange(self, x: Array, tag: int = 0) -> PendingExchange:
        """Nonblocking twin of `exchange`; `x` is copied before the return. Several may be under way."""
        ...

    def exchange_any(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Do as `exchange` where lengths of axis 0 may differ; types may not. It costs a second message an edge."""
        ...


@runtime_checkable
class Comm(Protocol):
    """Ranks 0 … size-1 of one program. All ranks call the verbs in the same order, but for `post` and `arrived`.

    `sum` adds in the order of the ranks, so that its result is the same bits on all ranks, in every run on the
    same number of ranks, over threads and over MPI. (MPI_Allreduce promises none of this.)
    """

    rank: int
    size: int
    library: str  # the words of the MPI library, if there is one
    unsaid: str  # an error with which the command ended on this rank
    tolerant: bool  # whether a lost rank is an error of the verbs, and not the end of all
    bytes_sent: int  # payload that this rank handed to others so far, each receiver counted once
    bytes_received: int
    messages: int

    def sum(self, x: Array) -> Array:
        """Sum over the ranks, elementwise; equal shapes and types everywhere."""
        ...

    def start_sum(self, x: Array) -> Pending:
        """Nonblocking twin of `sum`; `x` is copied before the return."""
        ...

    def max(self, x: Array) -> Array:
        """Maximum over the ranks, elementwise, of a small vector; NaN wins."""
        ...

    def allgather(self, x: Array) -> list[Array]:
        """Every rank's `x` in rank order; lengths of axis 0 may differ, types may not."""
        ...

    def alltoall(self, parts: Sequence[Array]) -> list[Array]:
        """Send `parts[r]` to rank r; give what the others sent here, in rank order. Lengths may differ."""
        ...

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Give `root`'s array, whatever its shape and type, on all ranks; what the others pass is not looked at."""
        ...

    def post(self, wire: Array, to: int) -> None:
        """Send a copy of `wire` (uint8) to one rank, which need not wait for it, nor this rank for that one.

        Between two ranks the order is kept; other verbs do not meet these messages.
        """
        ...

    def arrived(self) -> list[Message]:
        """Take the messages posted to this rank that are here by now, maybe none: (source, wire)."""
        ...

    def flush(self) -> list[Message]:
        """Take all messages still under way to this rank; collective. Afterwards nothing is under way anywhere."""
        ...

    def barrier(self) -> None:
        """Return when all ranks have arrived."""
        ...

    def agree(self, error: Exception | None) -> None:
        """Return if no rank brings an error; else raise, on all ranks, the error of the lowest such rank.

        The type (one of ValueError, OSError, RuntimeError, MemoryError …) and the message survive; where more
        than one rank exists and only some failed, the message says which rank.
        """
        ...

    def agree_on_errors(self) -> AbstractContextManager[None]:
        """Run the block of a `with` statement on every rank; where it fails on some, raise on all, as `agree` does.

        The errors that ranks agree on are ValueError, OSError, MemoryError and EOFError. Every other error is a fault
        of the program and leaves the block at once, on this rank alone. All ranks must run the block.
        """
        ...

    def graph(self, outgoing: Sequence[int], timeout: float = 600.0) -> Neighbours:
        """Make the graph in which this rank sends to the ranks `outgoing` (ascending, without itself).

        A message that does not come within `timeout` seconds is a RuntimeError. ValueError on all ranks where a
        neighbour is no other rank.
        """
        ...
