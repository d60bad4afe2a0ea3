"""A channel is all that an algorithm sees of the other ranks: exact sums, compressed sums, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpiopt import randomness, routes
from mpiopt.comm import Array, Comm, Letter, Pending
from mpiopt.comm.reduction import is_small
from mpiopt.compressors import Compressor, Summable
from mpiopt.routes import Route
from mpiopt.shard import block

Vector = NDArray[np.float64]
R = TypeVar("R")


@dataclass
class Traffic:
    """What this rank sent and received through the channel, as its communicator counts it, and what it cost."""

    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_plain: int = 0  # that the same exchanges would have sent with sums of float64 instead of compressed ones
    messages: int = 0
    exchanges: int = 0
    seconds_wait: float = 0.0  # for the slowest rank, before an exchange starts
    seconds_communicate: float = 0.0
    seconds_compress: float = 0.0


class Parts(NamedTuple):
    """A compressed sum: what this rank's vector became on the wire, and the sum over the ranks."""

    own: Vector  # C(x_k)
    total: Vector  # Σ C(x_k), the same bits on all ranks; compressed again on the way back where that was asked for


COUNTS = ("bytes_sent", "bytes_received", "bytes_plain", "messages", "exchanges")


@dataclass
class Channel:
    """Exchange of vectors between the ranks, with its accounting."""

    comm: Comm
    seed: int = 0
    compressor: Compressor | None = None  # None: `compress` is `sum`
    memory: str = "error-feedback"  # what `mpiopt.memory.update` does
    downlink: bool = False  # compress the way back from a sum, too
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def rank(self) -> int:
        """This rank's number."""
        return self.comm.rank

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return self.comm.size

    @property
    def compresses(self) -> bool:
        """Say whether `compress` is anything but an exact sum."""
        return self.compressor is not None and self.compressor.name != "none" and self.size > 1

    def sum(self, *parts: Array | float) -> Array:
        """Sum over the ranks in one exchange; several arguments travel as one flat vector."""
        x = flat(*parts)
        self._wait()
        with self._counted():
            self.traffic.bytes_plain += routes.plain(x.size, self.size)
            return self.comm.sum(x)

    def whole_sum(self, x: Array) -> Array:
        """Sum over the ranks of short whole numbers, in their own type."""
        self.traffic.bytes_plain += routes.plain(x.size, self.size)
        return self._exchange(x)

    def start_sum(self, *parts: Array | float) -> Pending:
        """Nonblocking twin of `sum`."""
        with self._counted():
            x = flat(*parts)
            self.traffic.bytes_plain += routes.plain(x.size, self.size)
            return _Timed(self.comm.start_sum(x), self.traffic)

    def max(self, x: Array | float) -> Array:
        """Maximum over the ranks."""
        with self._counted():
            y = flat(x)
            self.traffic.bytes_plain += y.nbytes * (self.size - 1)
            return self.comm.max(y)

    def shrink(self, d: int) -> float:
        """Give s with E‖s C(x) − x‖² < ‖x‖² for vectors of d numbers as they travel here; 1 without compression."""
        return self.compressor.shrink(self._piece(d)) if self.compressor and self.compresses else 1.0

    def variance(self, d: int) -> float:
        """Give ω of vectors of d numbers as they travel here; 0 without compression."""
        return self.compressor.variance(self._piece(d)) if self.compressor and self.compresses else 0.0

    def contraction(self, d: int) -> float:
        """Give α with E‖s C(x) − x‖² <= (1 − α) ‖x‖² for all x, s = shrink(d); 1 without compression."""
        return self.compressor.contraction(self._piece(d)) if self.compressor and self.compresses else 1.0

    def through(self, d: int) -> float:
        """Give the part of a usual vector of d numbers that gets through; 1 without compression."""
        return self.compressor.through(self._piece(d)) if self.compressor and self.compresses else 1.0

    def shrink_of_sum(self, d: int) -> float:
        """Give s for a sum of as many like vectors, whose noise averages out unless all ranks draw the same."""
        if not (self.compressor and self.compresses):
            return 1.0
        omega = 1.0 / self.shrink(d) - 1.0
        return 1.0 / (1.0 + omega / (1 if self._route(d) is Route.SUM else self.size))

    def exchanges_for_one(self, d: int) -> int:
        """Give how many compressed exchanges of d numbers cost as many bytes as an exact one."""
        if self.compressor is None:
            return 1
        costs = routes.costs_of(self.compressor, d, self.size, self.downlink)
        return max(1, int(routes.plain(d, self.size) / max(1.0, min(costs.values()))))

    def coordinate(self, work: Callable[[], R], d: int) -> R:
        """Do what sends along a graph of `comm`, in place of an exact sum of d numbers; count it as one exchange."""
        self._wait()
        with self._counted():
            self.traffic.bytes_plain += routes.plain(d, self.size)
            return work()

    def counts(self) -> NDArray[np.void]:
        """Give the traffic of every rank: a table with a row for each, fields as in `COUNTS`; collective."""
        mine = np.array([tuple(getattr(self.traffic, n) for n in COUNTS)], [(n, np.int64) for n in COUNTS])
        parts = self.comm.allgather(mine.view(np.int64))
        return np.concatenate(parts).view(mine.dtype)

    def _route(self, d: int) -> Route | None:
        return routes.choose(self.compressor, d, self.size, self.downlink) if self.compressor else None

    def _piece(self, d: int) -> int:
        """Give how many numbers are compressed together."""
        return -(-d // self.size) if self._route(d) is Route.SLICES else d

    def compress(self, x: Vector, k: int, stream: int, residual: Vector | None = None) -> Parts:
        """Give C(x) of this rank and Σ C(x_k), for the flat vector `x` of round k; collective.

        The route is that with the fewest bytes (`mpiopt.routes`). With `downlink` and a `residual` (of x's size; this
        rank's slice of it is used) what the way back loses is added to the next sum: error feedback.
        """
        if self.compressor is None or not self.compresses:
            total = self.sum(x)
            return Parts(np.array(x), total)
        self.traffic.bytes_plain += routes.plain(x.size, self.size)
        route = self._route(x.size)
        if route is Route.SUM and isinstance(self.compressor, Summable):
            return self._by_sum(self.compressor, x, k, stream)
        if route is Route.GATHER:
            return self._by_gather(self.compressor, x, k, stream)
        return self._by_slices(self.compressor, x, k, stream, residual)

    def _by_sum(self, compressor: Summable, x: Vector, k: int, stream: int) -> Parts:
        """Add the projected vectors on their way, in float32; in float64 where that overflows, which all see."""
        seed = self._seed(k, stream, 0)
        with self._compressing(), np.errstate(over="ignore"):
            values = compressor.project(x, seed)
            short = values.astype(np.float32)
        own, total = self._short_sum(short)
        if not np.isfinite(total).all():
            own, total = values, self._exchange(values)
        with self._compressing():
            return Parts(compressor.lift(own, x.size, seed), compressor.lift(total, x.size, seed))

    def _short_sum(self, x: NDArray[np.float32]) -> tuple[Vector, Vector]:
        """Give what this rank's float32 numbers are taken for, and their sum.

        The sum is rounded to float32 by the rank that adds, and what that changes is put down to its own numbers:
        without it a memory would drift away from the sum of the memories, which nothing would ever bring back.
        """
        own = x.astype(np.float64)
        self._wait()
        with np.errstate(over="ignore", invalid="ignore"):
            if is_small(x.nbytes, self.size):
                with self._counted():
                    return own, _added(self.comm.allgather(x))
            cuts = self._cuts(x.size)
            with self._counted():
                found = self.comm.alltoall([x[cut] for cut in cuts])
            whole = _added(found)
            told = whole.astype(np.float32)
            own[cuts[self.rank]] += told - whole
            with self._counted():
                return own, np.concatenate(self.comm.allgather(told)).astype(np.float64)

    def _exchange(self, x: Array) -> Array:
        self._wait()
        with self._counted(), np.errstate(over="ignore", invalid="ignore"):
            return self.comm.sum(x)

    def _by_gather(self, compressor: Compressor, x: Vector, k: int, stream: int) -> Parts:
        """Give everyone every wire."""
        with self._compressing():
            wire = compressor.encode(x, self._seed(k, stream, self.rank))
        self._wait()
        with self._counted():
            wires = self.comm.allgather(wire)
        with self._compressing():
            decoded = [compressor.decode(w, x.size) for w in wires]
            return Parts(decoded[self.rank], _added(decoded))

    def _by_slices(self, compressor: Compressor, x: Vector, k: int, stream: int, residual: Vector | None) -> Parts:
        """Send slice r to rank r, which adds up and sends the sum to all: as it is, or compressed again."""
        cuts = self._cuts(x.size)
        with self._compressing():
            seed = self._seed(k, stream, self.rank)
            wires = [compressor.encode(x[cut], seed + r) for r, cut in enumerate(cuts)]
            own = np.concatenate([compressor.decode(w, _length(cut)) for w, cut in zip(wires, cuts, strict=True)])
        self._wait()
        with self._counted():
            found = self.comm.alltoall(wires)
        mine = cuts[self.rank]
        with self._compressing():
            total = _added([compressor.decode(w, _length(mine)) for w in found])
        if not self.downlink:
            with self._counted():
                return Parts(own, np.concatenate(self.comm.allgather(total)))
        with self._compressing():
            wanted = total if residual is None else total + residual[mine]
            wire = compressor.encode(wanted, seed + self.size)
            if residual is not None:
                residual[mine] = wanted - compressor.shrink(total.size) * compressor.decode(wire, total.size)
        with self._counted():
            back = self.comm.allgather(wire)
        with self._compressing():
            s = [1.0 if residual is None else compressor.shrink(_length(cut)) for cut in cuts]
            pieces = [f * compressor.decode(w, _length(cut)) for f, w, cut in zip(s, back, cuts, strict=True)]
        return Parts(own, np.concatenate(pieces))

    def _cuts(self, d: int) -> list[slice]:
        return [slice(*block(d, self.size, r)) for r in range(self.size)]

    def _seed(self, k: int, stream: int, rank: int) -> int:
        return randomness.seed_of(self.seed, stream, k, rank) >> 1  # room for a few more after it

    def _wait(self) -> None:
        begin = time.perf_counter()
        self.comm.barrier()
        self.traffic.seconds_wait += time.perf_counter() - begin

    @contextmanager
    def _compressing(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.traffic.seconds_compress += time.perf_counter() - begin

    def post(self, wires: Mapping[int, Array]) -> None:
        """Send each rank named its wire, as one exchange that nobody waits for."""
        with self._counted():
            for to, wire in wires.items():
                self.comm.post(wire, to)
            self.traffic.bytes_plain += sum(wire.nbytes for wire in wires.values())

    def arrived(self) -> list[Letter]:
        """Take what has been posted to this rank and is here."""
        with self._counted(exchanges=0):
            return self.comm.arrived()

    def flush(self) -> list[Letter]:
        """Take all that is still under way to this rank; collective."""
        with self._counted():
            return self.comm.flush()

    @contextmanager
    def _counted(self, exchanges: int = 1) -> Iterator[None]:
        comm, traffic = self.comm, self.traffic
        begin, sent, received, messages = time.perf_counter(), comm.bytes_sent, comm.bytes_received, comm.messages
        yield
        traffic.bytes_sent += comm.bytes_sent - sent
        traffic.bytes_received += comm.bytes_received - received
        traffic.messages += comm.messages - messages
        traffic.exchanges += exchanges
        traffic.seconds_communicate += time.perf_counter() - begin


def _added(parts: Sequence[Array]) -> Vector:
    """Add in float64 in the order of the ranks: the same bits wherever it is done."""
    total = np.array(parts[0], np.float64)
    for part in parts[1:]:
        total += part
    return total


def _length(cut: slice) -> int:
    return int(cut.stop - cut.start)


class _Timed:
    """A sum under way whose polling and waiting count as communication."""

    def __init__(self, pending: Pending, traffic: Traffic) -> None:
        self._pending, self._traffic = pending, traffic

    def poll(self) -> bool:
        begin = time.perf_counter()
        done = self._pending.poll()
        self._traffic.seconds_communicate += time.perf_counter() - begin
        return done

    def wait(self) -> Array:
        begin = time.perf_counter()
        result = self._pending.wait()
        self._traffic.seconds_communicate += time.perf_counter() - begin
        return result


def flat(*parts: Array | float) -> Array:
    """Join arrays and numbers to one flat float64 vector."""
    return np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1) for p in parts])
