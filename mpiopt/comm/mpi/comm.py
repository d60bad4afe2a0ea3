"""The verbs over MPI: buffer calls only, on communicators of our own; importing this module initialises MPI."""

from __future__ import annotations

import ast
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Self

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array, Message
from mpiopt.comm.errors import decode, encode, raise_first
from mpiopt.comm.membership import Membership
from mpiopt.comm.mpi.mailbox import MpiMailbox
from mpiopt.comm.mpi.neighbours import MpiNeighbours
from mpiopt.comm.mpi.nonblocking import Sum, SumQueue
from mpiopt.comm.neighbours import sources_of
from mpiopt.comm.reduction import Sent, in_order, is_small, signature

# Counts of MPI 3 are 32-bit numbers, and some transports fail from 2 GiB on: longer messages go in pieces.
PIECE = 1 << 30
POLL = 0.005  # seconds between two looks


def met(world: MPI.Intracomm, patience: float) -> bool:
    """Say whether all ranks come here, as they do where all failed alike; one that failed alone waits in vain."""
    request, until = world.Ibarrier(), time.monotonic() + patience
    while not request.Test():
        if time.monotonic() > until:
            return False
        time.sleep(POLL)
    return True


class MpiComm(Sent):
    """The ranks of an MPI communicator that nobody else uses: pass a duplicate, `MPI.COMM_WORLD.Dup()`.

    Types: numbers are summed in their own type; everything else may hold any type without Python objects.
    `raw` is the MPI communicator, for parallel HDF5; `communicators` are all that this one has made, for
    `mpiopt.comm.mpi.ulfm` to revoke. `tolerant`: a lost rank is an error here, not the end of all.
    """

    def __init__(self, comm: MPI.Intracomm, piece: int = PIECE, tolerant: bool = False) -> None:
        super().__init__(comm.rank, comm.size)
        self.raw, self._piece, self.tolerant = comm, piece, tolerant
        self.crew: Membership | None = None  # of whom these are all
        self.library = MPI.Get_library_version()
        lane, mail = comm.Dup(), comm.Dup()
        self.communicators: list[MPI.Comm] = [comm, lane, mail]
        self._lane = SumQueue(lane, piece)
        self._mail = MpiMailbox(mail, piece)

    def free(self) -> None:
        """Free `communicators`, with the one that was passed; collective, with no message under way."""
        while self.communicators:
            self.communicators.pop().Free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.free()

    def sum(self, x: Array) -> Array:
        """Sum over the ranks in rank order."""
        if not is_small(x.nbytes, self.size):
            return self.start_sum(x).wait()
        self.count_sum(x)
        return self._reduce_small(np.add, x)

    def start_sum(self, x: Array) -> Sum:
        """Start a sum; it moves on in `poll` and `wait` of any sum under way, the oldest first."""
        self.count_sum(x)
        return self._lane.start(x)

    def max(self, x: Array) -> Array:
        """Maximum over the ranks, for small vectors; NaN wins."""
        self.count_to_all(x.nbytes)
        self.count_from_each([x.nbytes] * self.size)
        return self._reduce_small(np.maximum, x)

    def _reduce_small(self, operation: Callable[..., Array], x: Array) -> Array:
        every = np.empty((self.size, *x.shape), x.dtype)
        self.raw.Allgather(np.ascontiguousarray(x), every)
        return in_order(operation, list(every)).reshape(x.shape)

    def allgather(self, x: Array) -> list[Array]:
        """Every rank's array in rank order."""
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
        """Exchange one array per pair of ranks, straight from and into the arrays."""
        if len(parts) != self.size:
            raise RuntimeError(f"alltoall takes one array for each of the {self.size} ranks, not {len(parts)}")
        parts = [np.ascontiguousarray(np.atleast_1d(p)) for p in parts]
        self.count_to_each([p.nbytes for p in parts])
        found = [np.empty((n, *parts[0].shape[1:]), parts[0].dtype) for n in self._lengths(parts)]
        self.count_from_each([part.nbytes for part in found])
        self._pairwise(parts, found)
        return found

    def _lengths(self, parts: Sequence[Array]) -> list[int]:
        """Tell each rank the length of what it will get; refuse other types and shapes than here, on all ranks."""
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
        wire = _bytes(x)
        return (wire[start : start + self._piece] for start in range(0, wire.size, self._piece))

    def broadcast(self, x: Array | None, root: int = 0) -> Array:
        """Give root's array on all ranks; its shape and type travel before it."""
        told = _described(x if self.rank == root else None)
        length = np.array([told.size])
        self.raw.Bcast(length, root)
        told = np.resize(told, length[0]) if self.rank == root else np.empty(length[0], np.uint8)
        self.raw.Bcast(told, root)
        result = _like(told)
        if x is not None and self.rank == root:
            result[...] = x
            self.count_to_all(result.nbytes)
        else:
            self.bytes_received += result.nbytes
        for piece in self._pieces(result):
            self.raw.Bcast([piece, MPI.BYTE], root)
        return result

    def post(self, wire: Array, to: int) -> None:
        """Send a message that nobody waits for."""
        self.count_to_one(wire.nbytes, to)
        self._mail.post(wire, to)

    def arrived(self) -> list[Message]:
        """Take the messages that are here."""
        return self.count_letters(self._mail.arrived())

    def flush(self) -> list[Message]:
        """Take the messages that are under way; collective."""
        return self.count_letters(self._mail.flush())

    def barrier(self) -> None:
        """Wait for all."""
        self.raw.Barrier()

    def agree(self, error: Exception | None) -> None:
        """Raise the lowest rank's error on all ranks, or return: one reduction of one number where all is well."""
        failed = np.array([0 if error is None else 1])
        self.raw.Allreduce(MPI.IN_PLACE, failed, MPI.MAX)
        if not failed[0]:
            return
        told = encode(error)
        lengths = np.empty(self.size, np.int64)
        self.raw.Allgather(np.array([told.size]), lengths)
        every = np.empty(int(lengths.sum()), np.uint8)
        self.raw.Allgatherv([told, MPI.BYTE], [every, (lengths, None), MPI.BYTE])
        raise_first([decode(wire) for wire in np.split(every, np.cumsum(lengths)[:-1])], error)

    def info(self, hints: Mapping[str, str]) -> MPI.Info:
        """Give hints in MPI's own form, for parallel HDF5."""
        made = MPI.Info.Create()
        for key, value in hints.items():
            made.Set(key, value)
        return made

    def graph(self, outgoing: Sequence[int], timeout: float = 600.0) -> MpiNeighbours:
        """Make a graph, with a communicator of its own."""
        neighbours = MpiNeighbours(self, self.raw, outgoing, sources_of(self, outgoing), timeout, self._piece)
        self.communicators.append(neighbours.raw)
        return neighbours


def _bytes(x: Array) -> Array:
    return x.reshape(-1).view(np.uint8)


def _described(x: Array | None) -> Array:
    text = "" if x is None else repr((np.lib.format.dtype_to_descr(x.dtype), x.shape))
    return np.frombuffer(text.encode(), np.uint8)


def _like(description: Array) -> Array:
    if not description.size:
        raise RuntimeError("the root of a broadcast brings no array")
    kind, shape = ast.literal_eval(description.tobytes().decode())
    return np.empty(shape, np.lib.format.descr_to_dtype(kind))
