"""The few verbs by which ranks talk: a contract, kept by threads of one process and by mpi4py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

Array = NDArray[Any]


class Pending(Protocol):
    """An exchange under way."""

    def poll(self) -> bool:
        """Make progress; say whether `wait` would return at once."""
        ...

    def wait(self) -> Array:
        """Finish the exchange and give its result."""
        ...


@runtime_checkable
class Comm(Protocol):
    """Ranks 0 … size-1 of one program. Every verb is collective: all ranks call it in the same order.

    `sum` adds in the order of the ranks, so that its result is the same bits on all ranks, in every run on the
    same number of ranks, over threads and over MPI. (MPI_Allreduce promises none of this.)
    """

    rank: int
    size: int
    library: str  # the words of the MPI library, if there is one
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

    def barrier(self) -> None:
        """Return when all ranks have arrived."""
        ...

    def agree(self, error: Exception | None) -> None:
        """Return if no rank brings an error; else raise, on all ranks, the error of the lowest such rank.

        The type (one of ValueError, OSError, RuntimeError, MemoryError …) and the message survive; where more
        than one rank exists and only some failed, the message says which rank.
        """
        ...
