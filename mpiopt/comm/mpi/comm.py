"""The communicator over MPI, with buffer calls only; importing this module initialises MPI."""

from __future__ import annotations

import ast
import platform
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array, Message
from mpiopt.comm.errors import decode, encode, raise_first
from mpiopt.comm.mpi.mailbox import MpiMailbox
from mpiopt.comm.mpi.neighbours import MpiNeighbours
from mpiopt.comm.mpi.node_sums import NodeSums, find_nodes
from mpiopt.comm.mpi.nonblocking import MpiSum, SumQueue
from mpiopt.comm.neighbours import find_sources
from mpiopt.comm.nodes import pairwise
from mpiopt.comm.reduction import TrafficCounters, is_small, signature

# Bytes. Counts of MPI 3 are 32-bit numbers, and some transports fail from 2 GiB on: longer messages go in pieces.
PIECE = 1 << 30
POLL = 0.005  # seconds between two tests of a barrier


def all_arrive(world: MPI.Intracomm, patience: float) -> bool:
    """Return whether all ranks call this within `patience` seconds, as they do if all of them failed alike."""
    request, until = world.Ibarrier(), time.monotonic() + patience
    while not request.Test():
        if time.monotonic() > until:
            return False
        time.sleep(POLL)
    return True


class MpiComm(TrafficCounters):
    """A `mpiopt.comm.base.Comm` over an MPI communicator.

    Sums keep the type of their numbers. The other methods take every type without Python objects.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        A communicator that nothing else uses, such as `MPI.COMM_WORLD.Dup()`. `free` frees it.
    piece : int
        Bytes from which on a message is sent in pieces.
    tolerant : bool
        Whether the loss of a rank is an error of the methods (ULFM) and not the end of the job.
    host : str or None
        Name of this rank's host; None: the machine's. Sums are added within a host first.

    Attributes
    ----------
    nodes : Nodes or None
        Which ranks share a host, where there are several and one of them has several ranks in a row.
    raw : mpi4py.MPI.Intracomm
        The communicator `comm`, for parallel HDF5.
    communicators : list of mpi4py.MPI.Comm
        `comm` and all communicators made from it, to be revoked (`mpiopt.comm.mpi.ulfm`) or freed.
    """

    def __init__(
        self, comm: MPI.Intracomm, piece: int = PIECE, tolerant: bool = False, host: str | None = None
    ) -> None:
        super().__init__(comm.rank, comm.size, find_nodes(comm, platform.node() if host is None else host))
        self.raw, self._piece, self.tolerant = comm, piece, tolerant
        self.library = MPI.Get_library_version()
        for_sums, for_messages = comm.Dup(), comm.Dup()
        self.communicators: list[MPI.Comm] = [comm, for_sums, for_messages]
        self._small_sums = SumQueue(comm, piece, NodeSums(comm, self.nodes)) if self.nodes else None
        self._sums = SumQueue(for_sums, piece, NodeSums(for_sums, self.nodes) if self.nodes else None)
        for sums in filter(None, (self._sums, self._small_sums)):
            self.communicators += sums.over_nodes.communicators if sums.over_nodes else []
        self._mailbox = MpiMailbox(for_messages, piece)

    def sum(self, x: Array) -> Array:
        """Return the sum over the ranks, added pairwise."""
        if not is_small(x.nbytes, self.size):
            return self.start_sum(x).wait()
        self.count_sum(x)
        if self._small_sums is not None:
            return self._small_sums.start(x).wait()
        return self._reduce_small(np.add, x)

    def start_sum(self, x: Array) -> MpiSum:
        """Start a sum; it makes progress in `poll` and `wait` of any sum under way, the oldest first."""
        self.count_sum(x)
        return self._sums.start(x)

    def max(self, x: Array) -> Array:
        """Return the maximum over the ranks; NaN where any rank has NaN."""
        self.count_to_all(x.nbytes)
        self.count_from_each([x.nbytes] * self.size)
        return self._reduce_small(np.maximum, x)

    def _reduce_small(self, operation: Callable[..., Array], x: Array) -> Array:
        every = np.empty((self.size, *x.shape), x.dtype)
        self.raw.Allgather(np.ascontiguousarray(x), every)
        return pairwise(operation, list(every)).reshape(x.shape)

    def allgather(self, x: Array) -> list[Array]:
        """Return every rank's array in rank order."""
        x = np.ascontiguousarray(np.atleast_1d(x))
        self.count_to_all(x.nbytes)
        lengths = self._lengths([x] * self.size)
        every = np.empty((sum(lengths), *x.shape[1:]), x.dtype)
        parts: list[Array] = np.split(every, np.cumsum(lengths)[:-1])
        self.count_from_each([part.nbytes for part in parts])
        if every.nbytes <= self._piece:
            sizes = [part.nbytes for part in parts]
            self.raw.Allgatherv([_bytes(x), MPI.BYTE], [_bytes(every), (sizes, None), MPI.BYTE])
        else:
            self._pairwise([x] * self.size, parts)
        return parts

    def alltoall(self, parts: Sequence[Array]) -> list[Array]:
        """Exchange one array for each pair of ranks, without copies."""
        if len(parts) != self.size:
            raise RuntimeError(
                f"alltoall needs one array for each of the {self.size} ranks; it was given {len(parts)}"
            )
        parts = [np.ascontiguousarray(np.atleast_1d(p)) for p in parts]
        self.count_to_each([p.nbytes for p in parts])
        received = [np.empty((n, *parts[0].shape[1:]), parts[0].dtype) for n in self._lengths(parts)]
        self.count_from_each([part.nbytes for part in received])
        self._pairwise(parts, received)
        return received

    def _lengths(self, parts: Sequence[Array]) -> list[int]:
        """Return the lengths of the arrays to receive; raise RuntimeError on all ranks if types or shapes differ."""
        kinds = [zlib.crc32(signature(p).encode()) for p in parts]
        mine = np.array([[len(p), k] for p, k in zip(parts, kinds, strict=True)], np.int64)
        theirs = np.empty_like(mine)
        self.raw.Alltoall(mine, theirs)
        wrong = [r for r in range(self.size) if theirs[r, 1] != kinds[self.rank] or kinds[r] != kinds[self.rank]]
        text = f"ranks disagree on types or shapes: {signature(parts[self.rank])} here, rank {wrong} differs"
        self.agree(RuntimeError(text) if wrong else None)
        return [int(n) for n in theirs[:, 0]]

    def _pairwise(self, outgoing: Sequence[Array], incoming: Sequence[Array]) -> None:
        incoming[self.rank][...] = outgoing[self.rank]
        for hop in range(1, self.size):
            to, source = (self.rank + hop) % self.size, (self.rank - hop) % self.size
            receives = [self.raw.Irecv([p, MPI.BYTE], source) for p in self._pieces(incoming[source])]
            sends = [self.raw.Isend([p, MPI.BYTE], to) for p in self._pieces(outgoing[to])]
            MPI.Request.Waitall(receives + sends)

    def _pieces(self, x: Array) -> Iterator[Array]:
        raw = _bytes(x)
        return (raw[start : start + self._piece] for start in range(0, raw.size, self._piece))

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Return the root's array on all ranks; its shape and type are sent before it."""
        description = _describe(x if self.rank == root else None)
        length = np.array([description.size])
        self.raw.Bcast(length, root)
        if self.rank != root:
            description = np.empty(length[0], np.uint8)
        self.raw.Bcast(description, root)
        result = _empty_array(description)
        if x is not None and self.rank == root:
            result[...] = x
            self.count_to_all(result.nbytes)
        else:
            self.bytes_received += result.nbytes
        for piece in self._pieces(result):
            self.raw.Bcast([piece, MPI.BYTE], root)
        return result

    def send(self, payload: Array, to: int) -> None:
        """Send a copy of a message and return at once."""
        self.count_to_one(payload.nbytes, to)
        self._mailbox.send(payload, to)

    def receive_available(self) -> list[Message]:
        """Return the messages that have arrived."""
        return self.count_received(self._mailbox.receive_available())

    def drain(self) -> list[Message]:
        """Receive all messages that are under way; collective."""
        return self.count_received(self._mailbox.drain())

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.raw.Barrier()

    def agree(self, error: Exception | None) -> None:
        """Raise the error of the lowest rank that has one on all ranks, or return."""
        failed = np.array([0 if error is None else 1])
        self.raw.Allreduce(MPI.IN_PLACE, failed, MPI.MAX)
        if not failed[0]:
            return
        own = encode(error)
        lengths = np.empty(self.size, np.int64)
        self.raw.Allgather(np.array([own.size]), lengths)
        every = np.empty(int(lengths.sum()), np.uint8)
        self.raw.Allgatherv([own, MPI.BYTE], [every, (lengths, None), MPI.BYTE])
        raise_first([decode(part) for part in np.split(every, np.cumsum(lengths)[:-1])], error)

    def create_file(self, path: str, hints: Mapping[str, str]) -> None:
        """Make a new, empty file with hints for MPI-IO; a file system heeds them when a file is made; collective."""
        info = MPI.Info.Create()
        for key, value in hints.items():
            info.Set(key, value)
        try:
            MPI.File.Open(self.raw, path, MPI.MODE_CREATE | MPI.MODE_EXCL | MPI.MODE_WRONLY, info).Close()
        except MPI.Exception as error:
            raise OSError(f"cannot write {path}: {error.Get_error_string()}") from None
        finally:
            info.Free()

    def graph(self, outgoing: Sequence[int], timeout: float = 600.0) -> MpiNeighbours:
        """Make a graph, with a communicator of its own."""
        neighbours = MpiNeighbours(self, self.raw, outgoing, find_sources(self, outgoing), timeout, self._piece)
        self.communicators.append(neighbours.raw)
        return neighbours

    def free(self) -> None:
        """Finish sums and messages under way, then free `communicators`, with the one that was passed; collective."""
        if self.communicators:
            self._sums.finish()
            self.drain()
            self._free_communicators()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the communicators; after an error without waiting for the other ranks, which may be elsewhere."""
        if kind is None:
            self.free()
        else:
            self._free_communicators()

    def _free_communicators(self) -> None:
        while self.communicators:
            self.communicators.pop().Free()


def _bytes(x: Array) -> Array:
    return x.reshape(-1).view(np.uint8)


def _describe(x: Array | None) -> Array:
    text = "" if x is None else repr((np.lib.format.dtype_to_descr(x.dtype), x.shape))
    return np.frombuffer(text.encode(), np.uint8).copy()  # MPI wants a buffer that it may write


def _empty_array(description: Array) -> Array:
    if not description.size:
        raise RuntimeError("the root of a broadcast has no array to send")
    kind, shape = ast.literal_eval(description.tobytes().decode())
    return np.empty(shape, np.lib.format.descr_to_dtype(kind))
