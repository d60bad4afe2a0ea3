"""The compressed sum over the ranks, by the route on which a rank sends the fewest bytes.

With P ranks, d numbers, and b(n) the expected bytes of n compressed numbers, each rank sends

    SUM      (summable compressors) what a sum of the projected numbers sends: about 2 (P − 1)/P of their bytes
    GATHER   (P − 1) b(d): its message to every other rank; nothing is lost on the way back
    SLICES   (P − 1) (b(d/P) + c): slice r to rank r, which sends the sum of its slice to all: c = 8 d/P bytes, or
             c = b(d/P) if the way back is compressed as well

GATHER sends less than SLICES without a compressed way back up to about P = 1 + 8 d/b(d).
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
from mpiopt.compress.compressors.base import SEED, Compressor, Payload, Summable
from mpiopt.core import rng
from mpiopt.core.partition import block

Vector = NDArray[np.float64]


class Route(enum.Enum):
    """The way a compressed sum travels."""

    SUM = "sum of small vectors"
    GATHER = "every message to every rank"
    SLICES = "slices to their owner, sums back"


@cache
def cheapest_route(compressor: Compressor, d: int, size: int, downlink: bool) -> Route:
    """Return the route with the fewest expected bytes; the same on all ranks."""
    costs = route_costs(compressor, d, size, downlink)
    return min(costs, key=lambda route: costs[route])


def route_costs(compressor: Compressor, d: int, size: int, downlink: bool) -> dict[Route, float]:
    """Compute the bytes that one rank sends on each route open to the compressor.

    Parameters
    ----------
    compressor : Compressor
        The compressor.
    d : int
        Length of the vector.
    size : int
        Number of ranks.
    downlink : bool
        Whether the way back from a sum is compressed, too.

    Returns
    -------
    dict of Route to float
        Bytes.
    """
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
    """Compute the bytes that one rank sends in a sum of vectors of `nbytes` bytes."""
    return (size - 1) * nbytes * (1.0 if nbytes * (size - 1) <= SMALL else 2.0 / size)


def exact_sum_bytes(d: int, size: int) -> int:
    """Compute the bytes that one rank sends in a sum of d float64 numbers."""
    return round(sum_bytes(8.0 * d, size))


class ExchangedSum(NamedTuple):
    """A compressed sum.

    Attributes
    ----------
    own : ndarray, shape (d,)
        C(x_k): this rank's vector as the others received it.
    total : ndarray, shape (d,)
        Σ C(x_k), the same bits on all ranks; compressed once more if the way back is.
    """

    own: Vector
    total: Vector


@dataclass(frozen=True)
class CompressedSum:
    """Σ C(x_k) over the ranks of a timer's communicator."""

    compressor: Compressor
    downlink: bool
    seed: int
    timer: Timer

    @property
    def comm(self) -> Comm:
        """The ranks."""
        return self.timer.comm

    def route(self, d: int) -> Route:
        """Return the route of d numbers."""
        return cheapest_route(self.compressor, d, self.comm.size, self.downlink)

    def compressed_length(self, d: int) -> int:
        """Return how many of d numbers are compressed as one vector: all, or a slice."""
        return -(-d // self.comm.size) if self.route(d) is Route.SLICES else d

    def exchange(self, x: Vector, k: int, stream: int, residual: Vector | None) -> ExchangedSum:
        """Compress x, exchange it and add up, as `Channel.compress` says; collective."""
        route = self.route(x.size)
        if route is Route.SUM and isinstance(self.compressor, Summable):
            return self._by_sum(self.compressor, x, k, stream)
        if route is Route.GATHER:
            return self._by_gather(x, k, stream)
        return self._by_slices(x, k, stream, residual)

    def _by_sum(self, compressor: Summable, x: Vector, k: int, stream: int) -> ExchangedSum:
        """Add the projected vectors in float32; on overflow, which all ranks see, again in float64."""
        seed = self._seed(k, stream, 0)
        with self.timer.compressing(), np.errstate(over="ignore"):
            values = compressor.project(x, seed)
            short = values.astype(np.float32)
        own, total = self._float32_sum(short)
        if not np.isfinite(total).all():
            own = values
            self.timer.wait()
            with self.timer.counted():
                total = self.comm.sum(values)
        with self.timer.compressing():
            return ExchangedSum(compressor.lift(own, x.size, seed), compressor.lift(total, x.size, seed))

    def _float32_sum(self, x: NDArray[np.float32]) -> tuple[Vector, Vector]:
        """Return this rank's part of the sum of float32 vectors, and the sum.

        The rank that adds a slice rounds the sum to float32 and adds the rounding to its own part. Without that, an
        error-feedback memory would drift away from the sum of the memories, and nothing would correct it.
        """
        own = x.astype(np.float64)
        self.timer.wait()
        with np.errstate(over="ignore", invalid="ignore"):
            if is_small(x.nbytes, self.comm.size):
                with self.timer.counted():
                    return own, _added(self.comm.allgather(x))
            slices = self._slices(x.size)
            with self.timer.counted():
                received = self.comm.alltoall([x[part] for part in slices])
            exact = _added(received)
            rounded = exact.astype(np.float32)
            own[slices[self.comm.rank]] += rounded - exact
            with self.timer.counted():
                return own, np.concatenate(self.comm.allgather(rounded)).astype(np.float64)

    def _by_gather(self, x: Vector, k: int, stream: int) -> ExchangedSum:
        """Send every rank's message to every rank."""
        with self.timer.compressing():
            payload = self.compressor.encode(x, self._seed(k, stream, self.comm.rank))
        self.timer.wait()
        with self.timer.counted():
            payloads = self.comm.allgather(payload)
        with self.timer.compressing():
            decoded = [self.compressor.decode(p, x.size) for p in payloads]
            return ExchangedSum(decoded[self.comm.rank], _added(decoded))

    def _by_slices(self, x: Vector, k: int, stream: int, residual: Vector | None) -> ExchangedSum:
        """Send slice r to rank r, which adds up and sends the sum to all, exactly or compressed again."""
        slices, seed = self._slices(x.size), self._seed(k, stream, self.comm.rank)
        with self.timer.compressing():
            payloads = [self.compressor.encode(x[part], seed + r) for r, part in enumerate(slices)]
            own = np.concatenate(self._decoded(payloads, slices))
        self.timer.wait()
        with self.timer.counted():
            received = self.comm.alltoall(payloads)
        mine = slices[self.comm.rank]
        with self.timer.compressing():
            total = _added(self._decoded(received, [mine] * len(received)))
        if self.downlink:
            return ExchangedSum(own, self._send_back(total, slices, seed + self.comm.size, residual))
        with self.timer.counted():
            return ExchangedSum(own, np.concatenate(self.comm.allgather(total)))

    def _send_back(self, total: Vector, slices: Sequence[slice], seed: int, residual: Vector | None) -> Vector:
        """Send the sum of this rank's slice, plus the residual, to all; the compression error is the new residual."""
        mine = slices[self.comm.rank]
        with self.timer.compressing():
            corrected = total if residual is None else total + residual[mine]
            payload = self.compressor.encode(corrected, seed)
        with self.timer.counted():
            payloads = self.comm.allgather(payload)
        with self.timer.compressing():
            parts = self._decoded(payloads, slices)
            if residual is not None:
                parts = [self.compressor.shrink(part.size) * part for part in parts]
                residual[mine] = corrected - parts[self.comm.rank]
            return np.concatenate(parts)

    def _decoded(self, payloads: Sequence[Payload], slices: Sequence[slice]) -> list[Vector]:
        return [self.compressor.decode(p, part.stop - part.start) for p, part in zip(payloads, slices, strict=True)]

    def _slices(self, d: int) -> list[slice]:
        return [slice(*block(d, self.comm.size, r)) for r in range(self.comm.size)]

    def _seed(self, k: int, stream: int, rank: int) -> int:
        return rng.seed_of(self.seed, stream, k, rank) >> 1  # the seeds of the slices follow it and fit in 63 bits


def _added(parts: Sequence[Array]) -> Vector:
    """Add in float64 in the order of the ranks: the same bits on every rank."""
    total = np.array(parts[0], np.float64)
    for part in parts[1:]:
        total += part
    return total
