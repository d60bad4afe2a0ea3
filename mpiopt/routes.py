"""How a compressed sum travels: whichever way sends fewer bytes, by the expected lengths of the wires.

With P ranks, d numbers, b(n) bytes for n compressed numbers, each rank sends

    SUM      (summable compressors) what a sum of the projected numbers sends: about 2 (P − 1)/P of their bytes
    GATHER   (P − 1) b(d): its wire to every other rank; nothing is lost on the way back
    SLICES   (P − 1) (b(d/P) + c): slice r to rank r, which sends the sum of its slice to all: c = 8 d/P bytes, or
             c = b(d/P) where the way back is compressed as well

GATHER sends less than SLICES without the latter up to about P = 1 + 8 d/b(d).
"""

from __future__ import annotations

import enum
from functools import cache

from mpiopt.comm.reduction import SMALL
from mpiopt.compressors import SEED, Compressor, Summable


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
