"""The communicator that the rest of the package sees: a protocol that threads and MPI both keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from numpy.typing import NDArray

Array = NDArray[Any]


class Message(NamedTuple):
    """A point-to-point message as it was received."""

    source: int  # rank that sent it
    payload: Array  # (nbytes,) uint8


class Pending(Protocol):
    """A nonblocking sum under way."""

    def poll(self) -> bool:
        """Make progress; return whether `wait` would return at once."""
        ...

    def wait(self) -> Array:
        """Finish the sum and return it."""
        ...


class PendingExchange(Protocol):
    """A nonblocking exchange with the neighbours in a graph, under way."""

    def poll(self) -> bool:
        """Make progress; return whether `wait` would return at once."""
        ...

    def wait(self) -> dict[int, Array]:
        """Finish the exchange and return what the in-neighbours sent, by rank."""
        ...


class Neighbours(Protocol):
    """The edges of a directed graph at this rank; every method is collective over all ranks of the graph.

    Each exchange carries a `tag`, a number below 2⁶⁴ that must be equal at both ends of an edge. A protocol numbers
    its rounds with it. A lost message, or a rank that is in another round, is then a RuntimeError and never a wrong
    result. Only the ranks that notice the fault raise the error; it has to end the other ranks too, so do not catch
    it.

    Attributes
    ----------
    rank, size : int
        This rank and the number of ranks.
    outgoing, incoming : tuple of int
        Ranks that this rank sends to, and ranks that send to this rank; ascending.
    bytes_sent, messages : int
        Payload and messages sent along the edges so far; each receiver counts once.

    Examples
    --------
    >>> import numpy as np
    >>> from mpiopt.comm.threads import spmd
    >>> def shift(comm):
    ...     ring = comm.graph([(comm.rank + 1) % comm.size])
    ...     return {source: int(x[0]) for source, x in ring.exchange(np.array([comm.rank])).items()}
    >>> spmd(3, shift)
    [{2: 2}, {0: 0}, {1: 1}]
    """

    rank: int
    size: int
    outgoing: tuple[int, ...]
    incoming: tuple[int, ...]
    bytes_sent: int
    messages: int

    def exchange(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Send an array to all out-neighbours and receive those of the in-neighbours (MPI_Neighbor_allgather).

        Parameters
        ----------
        x : ndarray
            The array to send; shape and type are equal on all ranks.
        tag : int
            The number of the round, equal on all ranks.

        Returns
        -------
        dict of int to ndarray
            The array of each in-neighbour, by rank, ascending.

        Raises
        ------
        RuntimeError
            If a neighbour is in another round, sends another shape or type, or does not send in time.
        """
        ...

    def start_exchange(self, x: Array, tag: int = 0) -> PendingExchange:
        """Start an exchange and return at once (MPI_Ineighbor_allgather).

        The arguments are those of `exchange`. `x` is copied, and several exchanges may be under way.

        Returns
        -------
        PendingExchange
            Its `wait` returns what `exchange` would return.
        """
        ...

    def exchange_any(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Exchange arrays whose lengths along axis 0 differ (MPI_Neighbor_allgatherv).

        The arguments and the result are those of `exchange`; types and other axes must be equal on all ranks. Each
        edge carries a second message, with the length.
        """
        ...


@dataclass(frozen=True)
class Assignment:
    """The place of a rank in the work: its communicator, and the ranks of the last attempt that were lost."""

    comm: Comm | None  # None: this rank is a spare and waits
    lost: tuple[int, ...] = ()


class Membership(Protocol):
    """The ranks of a job that are alive. Every method is collective over them, except `is_rank_loss`."""

    def assign_ranks(self, spares: Callable[[Comm], int]) -> Assignment:
        """Return this rank's place; `spares` computes once how many ranks wait, the same on all ranks."""
        ...

    def is_rank_loss(self, error: Exception) -> bool:
        """Return whether the error means that a rank was lost; if so, make all other ranks see an error soon."""
        ...

    def agree_on_code(self, code: int) -> int:
        """Return the exit code that all working ranks contribute, or LOST if one of them contributes LOST."""
        ...

    def await_code(self) -> int:
        """Wait as a spare for the working ranks' `agree_on_code`, and return the same code."""
        ...


@runtime_checkable
class Comm(Protocol):
    """Ranks 0 … size-1 of one program, like an MPI communicator.

    Every method is collective, and all ranks call the methods in the same order, except `send` and
    `receive_available`. `sum` adds pairwise: two neighbours, then two pairs, and so on. Its result has the same
    bits on all ranks, in every run on the same number of ranks, over threads and over MPI, on any hosts.
    MPI_Allreduce promises none of this. Implementations are `mpiopt.comm.threads.ThreadComm` and
    `mpiopt.comm.mpi.comm.MpiComm`.

    Attributes
    ----------
    rank, size : int
        This rank and the number of ranks.
    library : str
        Description of the MPI library; empty without MPI.
    tolerant : bool
        Whether the loss of a rank is an error of the methods (ULFM) and not the end of the job.
    raw : mpi4py.MPI.Intracomm or None
        The MPI communicator, for parallel HDF5; None without MPI.
    membership : Membership or None
        The ranks of the job that are alive, where the job can continue without a lost rank.
    bytes_sent, bytes_received, messages : int
        Payload in bytes, and messages, of this rank so far; each receiver counts once.

    Examples
    --------
    >>> import numpy as np
    >>> from mpiopt.comm.threads import spmd
    >>> spmd(3, lambda comm: int(comm.sum(np.array([comm.rank]))[0]))
    [3, 3, 3]
    """

    rank: int
    size: int
    library: str
    tolerant: bool
    raw: Any
    membership: Membership | None
    bytes_sent: int
    bytes_received: int
    messages: int

    def sum(self, x: Array) -> Array:
        """Return the elementwise sum over the ranks (MPI_Allreduce with MPI_SUM, added pairwise).

        Parameters
        ----------
        x : ndarray
            This rank's array; shape and type are equal on all ranks.

        Returns
        -------
        ndarray
            The sum, in the shape and type of `x`.
        """
        ...

    def start_sum(self, x: Array) -> Pending:
        """Start a sum and return at once (MPI_Iallreduce).

        Parameters
        ----------
        x : ndarray
            This rank's array, which is copied; shape and type are equal on all ranks.

        Returns
        -------
        Pending
            Its `wait` returns what `sum` would return, bit for bit.
        """
        ...

    def max(self, x: Array) -> Array:
        """Return the elementwise maximum over the ranks (MPI_Allreduce with MPI_MAX).

        Parameters
        ----------
        x : ndarray
            This rank's array, a short one; shape and type are equal on all ranks.

        Returns
        -------
        ndarray
            The maximum, NaN where any rank has NaN.
        """
        ...

    def allgather(self, x: Array) -> list[Array]:
        """Return every rank's array in rank order (MPI_Allgatherv).

        Parameters
        ----------
        x : ndarray
            This rank's array; lengths along axis 0 may differ between ranks, types and other axes may not.

        Returns
        -------
        list of ndarray
            One array for each rank.
        """
        ...

    def alltoall(self, parts: Sequence[Array]) -> list[Array]:
        """Send one array to each rank and receive one from each (MPI_Alltoallv).

        Parameters
        ----------
        parts : sequence of ndarray
            `parts[r]` goes to rank r; lengths along axis 0 may differ, types and other axes may not.

        Returns
        -------
        list of ndarray
            What the ranks sent to this one, in rank order.

        Raises
        ------
        RuntimeError
            If there is not one array for each rank, or types differ between ranks.
        """
        ...

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Return the array of `root` on all ranks (MPI_Bcast); its shape and type travel with it.

        Parameters
        ----------
        x : ndarray or None
            The array on `root`; it is ignored on the other ranks.
        root : int
            The rank that has the array.

        Returns
        -------
        ndarray
            A copy of the root's array.
        """
        ...

    def send(self, payload: Array, to: int) -> None:
        """Send a copy of a message to one rank and return at once (MPI_Isend).

        Neither rank waits for the other. Messages between two ranks keep their order. Collective methods do not
        interfere with these messages.

        Parameters
        ----------
        payload : ndarray of uint8
            The bytes to send.
        to : int
            The receiving rank.
        """
        ...

    def receive_available(self) -> list[Message]:
        """Return the messages that have arrived at this rank by now, possibly none (MPI_Improbe, MPI_Mrecv)."""
        ...

    def drain(self) -> list[Message]:
        """Receive all messages still under way to this rank; collective. Afterwards none is under way anywhere."""
        ...

    def barrier(self) -> None:
        """Return when all ranks have arrived (MPI_Barrier)."""
        ...

    def agree(self, error: Exception | None) -> None:
        """Return if no rank has an error; else raise the error of the lowest such rank on all ranks.

        Parameters
        ----------
        error : Exception or None
            This rank's error.

        Raises
        ------
        Exception
            ValueError, OSError, RuntimeError, MemoryError and the like keep type and message; other types become
            RuntimeError. Where only some ranks failed, the message names the rank.
        """
        ...

    def agree_on_errors(self) -> AbstractContextManager[None]:
        """Return a context manager: where its block fails on some ranks, all ranks raise, as `agree` does.

        Ranks agree on ValueError, OSError, MemoryError and EOFError. Every other error is a fault of the program and
        leaves the block at once, on this rank alone. All ranks must run the block.

        Examples
        --------
        >>> from mpiopt.comm.threads import spmd
        >>> def main(comm):
        ...     with comm.agree_on_errors():
        ...         if comm.rank == 1:
        ...             raise ValueError("no such file")
        >>> spmd(3, main)
        Traceback (most recent call last):
        ...
        ValueError: rank 1: no such file
        """
        ...

    def graph(self, outgoing: Sequence[int], timeout: float = 600.0) -> Neighbours:
        """Make a directed graph of the ranks (MPI_Dist_graph_create_adjacent).

        Parameters
        ----------
        outgoing : sequence of int
            Ranks to which this rank sends, ascending, without itself.
        timeout : float
            Seconds after which a missing message is a RuntimeError.

        Returns
        -------
        Neighbours
            The edges at this rank.

        Raises
        ------
        ValueError
            On all ranks, if a neighbour of one of them is not another rank.
        """
        ...

    def free(self) -> None:
        """Finish what is under way and free what this communicator has made (MPI_Comm_free); it ends here.

        A `with` statement frees the communicator at the end of its block.
        """
        ...

    def __enter__(self) -> Self:
        """Return the communicator."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the communicator."""
        ...
