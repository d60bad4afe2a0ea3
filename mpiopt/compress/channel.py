"""A channel is all that an algorithm sees of the other ranks: exact sums, compressed sums, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.accounting import COUNTS, Timed, Timer, Traffic
from mpiopt.comm.base import Array, Comm, Message, Pending
from mpiopt.compress import allreduce
from mpiopt.compress.allreduce import CompressedSum, ExchangedSum, Route
from mpiopt.compress.compressors.base import Compressor

Vector = NDArray[np.float64]
R = TypeVar("R")


@dataclass
class Channel:
    """Exchange of vectors between the ranks, with its accounting."""

    comm: Comm
    seed: int = 0
    compressor: Compressor | None = None  # None: `compress` is `sum`
    memory: str = "error-feedback"  # what `mpiopt.compress.error_feedback.update` does
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
        self._meter.wait()
        with self._meter.counted():
            self.traffic.bytes_plain += allreduce.plain(x.size, self.size)
            return self.comm.sum(x)

    def integer_sum(self, x: Array) -> Array:
        """Sum over the ranks of short whole numbers, in their own type."""
        self.traffic.bytes_plain += allreduce.plain(x.size, self.size)
        return self._exchange(x)

    def start_sum(self, *parts: Array | float) -> Pending:
        """Nonblocking twin of `sum`."""
        with self._meter.counted():
            x = flat(*parts)
            self.traffic.bytes_plain += allreduce.plain(x.size, self.size)
            return Timed(self.comm.start_sum(x), self.traffic)

    def max(self, x: Array | float) -> Array:
        """Maximum over the ranks."""
        with self._meter.counted():
            y = flat(x)
            self.traffic.bytes_plain += y.nbytes * (self.size - 1)
            return self.comm.max(y)

    def shrink(self, d: int) -> float:
        """Give s with E‖s C(x) − x‖² < ‖x‖² for vectors of d numbers as they travel here; 1 without compression."""
        return self.compressor.shrink(self._together(d)) if self.compressor and self.compresses else 1.0

    def variance(self, d: int) -> float:
        """Give ω of vectors of d numbers as they travel here; 0 without compression."""
        return self.compressor.variance(self._together(d)) if self.compressor and self.compresses else 0.0

    def contraction(self, d: int) -> float:
        """Give α with E‖s C(x) − x‖² <= (1 − α) ‖x‖² for all x, s = shrink(d); 1 without compression."""
        return self.compressor.contraction(self._together(d)) if self.compressor and self.compresses else 1.0

    def typical_contraction(self, d: int) -> float:
        """Give the part of a usual vector of d numbers that gets through; 1 without compression."""
        return self.compressor.typical_contraction(self._together(d)) if self.compressor and self.compresses else 1.0

    def shrink_of_sum(self, d: int) -> float:
        """Give s for a sum of as many like vectors, whose noise averages out unless all ranks draw the same."""
        if not (self.compressor and self.compresses):
            return 1.0
        omega = 1.0 / self.shrink(d) - 1.0
        return 1.0 / (1.0 + omega / (1 if self._lean(self.compressor).route(d) is Route.SUM else self.size))

    def exchanges_per_exact_sum(self, d: int) -> int:
        """Give how many compressed exchanges of d numbers cost as many bytes as an exact one."""
        if self.compressor is None:
            return 1
        costs = allreduce.costs_of(self.compressor, d, self.size, self.downlink)
        return max(1, int(allreduce.plain(d, self.size) / max(1.0, min(costs.values()))))

    def max_uncounted(self, x: Array) -> Array:
        """Maximum over the ranks of what is about the run: not counted."""
        return self.comm.max(x)

    def coordinate(self, work: Callable[[], R], d: int) -> R:
        """Do what sends along a graph of `comm`, in place of an exact sum of d numbers; count it as one exchange.

        Waiting for slower ranks is part of it: along a graph nobody meets all the others.
        """
        with self._meter.counted():
            self.traffic.bytes_plain += allreduce.plain(d, self.size)
            return work()

    def counts(self) -> NDArray[np.void]:
        """Give the traffic of every rank: a table with a row for each, fields as in `COUNTS`; collective."""
        mine = np.array([tuple(getattr(self.traffic, n) for n in COUNTS)], [(n, np.int64) for n in COUNTS])
        parts = self.comm.allgather(mine.view(np.int64))
        return np.concatenate(parts).view(mine.dtype)

    @property
    def _meter(self) -> Timer:
        return Timer(self.comm, self.traffic)

    def _lean(self, compressor: Compressor) -> CompressedSum:
        return CompressedSum(compressor, self.downlink, self.seed, self._meter)

    def _together(self, d: int) -> int:
        return self._lean(self.compressor).together(d) if self.compressor else d

    def compress(self, x: Vector, k: int, stream: int, residual: Vector | None = None) -> ExchangedSum:
        """Give C(x) of this rank and Σ C(x_k), for the flat vector `x` of round k; collective.

        The route is that with the fewest bytes (`mpiopt.compress.allreduce`). With `downlink` and a `residual` (of
        x's size; this
        rank's slice of it is used) what the way back loses is added to the next sum: error feedback.
        """
        if self.compressor is None or not self.compresses:
            total = self.sum(x)
            return ExchangedSum(np.array(x), total)
        self.traffic.bytes_plain += allreduce.plain(x.size, self.size)
        return self._lean(self.compressor).of(x, k, stream, residual)

    def _exchange(self, x: Array) -> Array:
        self._meter.wait()
        with self._meter.counted(), np.errstate(over="ignore", invalid="ignore"):
            return self.comm.sum(x)

    def shift(self, wire: Array) -> Array:
        """Hand a wire (uint8) to the next rank of the ring and give that of the rank before; collective."""
        self._meter.wait()
        with self._meter.counted():
            parts = [wire if r == (self.rank + 1) % self.size else wire[:0] for r in range(self.size)]
            self.traffic.bytes_plain += wire.nbytes * (self.size > 1)
            return self.comm.alltoall(parts)[(self.rank - 1) % self.size]

    def post(self, wires: Mapping[int, Array]) -> None:
        """Send each rank named its wire, as one exchange that nobody waits for."""
        with self._meter.counted():
            for to, wire in wires.items():
                self.comm.post(wire, to)
            self.traffic.bytes_plain += sum(wire.nbytes for wire in wires.values())

    def arrived(self) -> list[Message]:
        """Take what has been posted to this rank and is here."""
        with self._meter.counted(exchanges=0):
            return self.comm.arrived()

    def flush(self) -> list[Message]:
        """Take all that is still under way to this rank; collective."""
        with self._meter.counted():
            return self.comm.flush()


def flat(*parts: Array | float) -> Array:
    """Join arrays and numbers to one flat float64 vector."""
    return np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1) for p in parts])
