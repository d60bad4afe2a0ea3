"""How a compressed sum travels: whichever way sends fewer bytes, by the expected lengths of the wires.

With P ranks, d numbers, b(n) bytes for n compressed numbers, each rank sends

    SUM      (summable compressors) what a sum of the projected numbers sends: about 2 (P − 1)/P of their bytes
    GATHER   (P − 1) b(d): its wire to every other rank; nothing is lost on the way back
    SLICES   (P − 1) (b(d/P) + c): slice r to rank r, which sends the sum of its slice to all: c = 8 d/P bytes, or
             c = b(d/P) where the way back is compressed as well

GATHER sends less than SLICES without the latter up to about P = 1 + 8 d/b(d).

The compressed sum over the ranks, by the route that sends fewest bytes (`mpiopt.compress.allreduce`).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.accounting import Timer
from mpiopt.comm.base import Array, Comm
from mpiopt.comm.reduction import SMALL, is_small
from mpiopt.compress.compressors.base import SEED, Compressor, Summable, Wire
from mpiopt.core import rng
from mpiopt.core.partition import block


class Route(enum.Enum):
    """The way of a compressed sum."""

    SUM = "sum of small vectors"
    GATHER = "every wire to every rank"
    SLICES = "slices to their owner, sums back"


@cache
def choose(compressor: Compressor, d: int, size: int, downlink: bool) -> Route:
    """Give the route with the fewest expected bytes; the same on all ranks."""
    costs = costs_of(compressor, d, size, downlink)
    return min(costs, key=lambda route: costs[route])


def costs_of(compressor: Compressor, d: int, size: int, downlink: bool) -> dict[Route, float]:
    """Give the bytes that one rank sends on each route that the compressor can take."""
    part = -(-d // size)
    back = compressor.nbytes(part) if downlink else 8.0 * part
    costs = {
        Route.GATHER: (size - 1) * compressor.nbytes(d),
        Route.SLICES: (size - 1) * (compressor.nbytes(part) + back),
    }
    if isinstance(compressor, Summable):
        costs[Route.SUM] = sum_bytes(compressor.nbytes(d) - SEED, size)
    return costs


def sum_bytes(nbytes: float, size: int) -> float:
    """Give what one rank sends in a sum of vectors of `nbytes`."""
    return (size - 1) * nbytes * (1.0 if nbytes * (size - 1) <= SMALL else 2.0 / size)


def plain(d: int, size: int) -> int:
    """Give what one rank sends in a sum of d float64 numbers."""
    return round(sum_bytes(8.0 * d, size))


Vector = NDArray[np.float64]


class ExchangedSum(NamedTuple):
    """A compressed sum: what this rank's vector became on the wire, and the sum over the ranks."""

    own: Vector  # C(x_k)
    total: Vector  # Σ C(x_k), the same bits on all ranks; compressed again on the way back where that was asked for


@dataclass(frozen=True)
class CompressedSum:
    """Σ C(x_k) over the ranks of a meter's communicator."""

    compressor: Compressor
    downlink: bool
    seed: int
    meter: Timer

    @property
    def comm(self) -> Comm:
        """The ranks."""
        return self.meter.comm

    def route(self, d: int) -> Route:
        """Give the way of d numbers."""
        return choose(self.compressor, d, self.comm.size, self.downlink)

    def together(self, d: int) -> int:
        """Give how many of d numbers are compressed together."""
        return -(-d // self.comm.size) if self.route(d) is Route.SLICES else d

    def of(self, x: Vector, k: int, stream: int, residual: Vector | None) -> ExchangedSum:
        """Give C(x) of this rank and the sum, see `Channel.compress`; collective."""
        route = self.route(x.size)
        if route is Route.SUM and isinstance(self.compressor, Summable):
            return self._by_sum(self.compressor, x, k, stream)
        if route is Route.GATHER:
            return self._by_gather(x, k, stream)
        return self._by_slices(x, k, stream, residual)

    def _by_sum(self, compressor: Summable, x: Vector, k: int, stream: int) -> ExchangedSum:
        """Add the projected vectors on their way, in float32; in float64 where that overflows, which all see."""
        seed = self._seed(k, stream, 0)
        with self.meter.compressing(), np.errstate(over="ignore"):
            values = compressor.project(x, seed)
            short = values.astype(np.float32)
        own, total = self._short_sum(short)
        if not np.isfinite(total).all():
            own, total = values, self._exact(values)
        with self.meter.compressing():
            return ExchangedSum(compressor.lift(own, x.size, seed), compressor.lift(total, x.size, seed))

    def _short_sum(self, x: NDArray[np.float32]) -> tuple[Vector, Vector]:
        """Give what this rank's float32 numbers are taken for, and their sum.

        The sum is rounded to float32 by the rank that adds, and what that changes is put down to its own numbers:
        without it a memory would drift away from the sum of the memories, which nothing would ever bring back.
        """
        own = x.astype(np.float64)
        self.meter.wait()
        with np.errstate(over="ignore", invalid="ignore"):
            if is_small(x.nbytes, self.comm.size):
                with self.meter.counted():
                    return own, _added(self.comm.allgather(x))
            cuts = self._cuts(x.size)
            with self.meter.counted():
                found = self.comm.alltoall([x[cut] for cut in cuts])
            whole = _added(found)
            told = whole.astype(np.float32)
            own[cuts[self.comm.rank]] += told - whole
            with self.meter.counted():
                return own, np.concatenate(self.comm.allgather(told)).astype(np.float64)

    def _by_gather(self, x: Vector, k: int, stream: int) -> ExchangedSum:
        """Give everyone every wire."""
        with self.meter.compressing():
            wire = self.compressor.encode(x, self._seed(k, stream, self.comm.rank))
        self.meter.wait()
        with self.meter.counted():
            wires = self.comm.allgather(wire)
        with self.meter.compressing():
            decoded = [self.compressor.decode(w, x.size) for w in wires]
            return ExchangedSum(decoded[self.comm.rank], _added(decoded))

    def _by_slices(self, x: Vector, k: int, stream: int, residual: Vector | None) -> ExchangedSum:
        """Send slice r to rank r, which adds up and sends the sum to all: as it is, or compressed again."""
        cuts, seed = self._cuts(x.size), self._seed(k, stream, self.comm.rank)
        with self.meter.compressing():
            wires = [self.compressor.encode(x[cut], seed + r) for r, cut in enumerate(cuts)]
            own = np.concatenate(self._decoded(wires, cuts))
        self.meter.wait()
        with self.meter.counted():
            found = self.comm.alltoall(wires)
        mine = cuts[self.comm.rank]
        with self.meter.compressing():
            total = _added(self._decoded(found, [mine] * len(found)))
        if self.downlink:
            return ExchangedSum(own, self._back(total, cuts, seed + self.comm.size, residual))
        with self.meter.counted():
            return ExchangedSum(own, np.concatenate(self.comm.allgather(total)))

    def _back(self, total: Vector, cuts: Sequence[slice], seed: int, residual: Vector | None) -> Vector:
        """Send the sum of this rank's slice to all, compressed, with what was owed; what is lost is owed next."""
        mine = cuts[self.comm.rank]
        with self.meter.compressing():
            wanted = total if residual is None else total + residual[mine]
            wire = self.compressor.encode(wanted, seed)
        with self.meter.counted():
            back = self.comm.allgather(wire)
        with self.meter.compressing():
            pieces = self._decoded(back, cuts)
            if residual is not None:
                pieces = [self.compressor.shrink(piece.size) * piece for piece in pieces]
                residual[mine] = wanted - pieces[self.comm.rank]
            return np.concatenate(pieces)

    def _decoded(self, wires: Sequence[Wire], cuts: Sequence[slice]) -> list[Vector]:
        return [self.compressor.decode(w, cut.stop - cut.start) for w, cut in zip(wires, cuts, strict=True)]

    def _cuts(self, d: int) -> list[slice]:
        return [slice(*block(d, self.comm.size, r)) for r in range(self.comm.size)]

    def _exact(self, x: Vector) -> Vector:
        self.meter.wait()
        with self.meter.counted():
            return self.comm.sum(x)

    def _seed(self, k: int, stream: int, rank: int) -> int:
        return rng.seed_of(self.seed, stream, k, rank) >> 1  # room for a few more after it


def _added(parts: Sequence[Array]) -> Vector:
    """Add in float64 in the order of the ranks: the same bits wherever it is done."""
    total = np.array(parts[0], np.float64)
    for part in parts[1:]:
        total += part
    return total
