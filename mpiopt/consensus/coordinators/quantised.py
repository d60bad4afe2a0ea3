"""Ratio consensus on integers, after A. I. Rikos, C. N. Hadjicostis, K. H. Johansson, "Finite time quantized average
consensus with transmission stopping", 2021: masses are integers, are split into integers, and none is lost.

Here all out-neighbours get equal parts, so that one message serves all of them; the sender keeps the remainder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus.coordinators.base import Coordinator, Estimate, Protocol, RankView, Vector
from mpiopt.consensus.coordinators.max_consensus import exponents, finite

Integers = NDArray[np.int64]
GUARD_BITS = 30  # at most, below one level: the remainders of divisions are small beside a level
SUM_BITS = 61  # of the sum of all masses, so that it fits into int64 with its sign


@dataclass(frozen=True)
class QuantisedConsensus(Coordinator):
    """Integer masses, split by integer division: stops within one level, 2^-bits of the scale; no rounding adds up.

    A message holds y and x (int64), and the highest and the lowest ratio in levels (float64): 3 d + 1 numbers.

    Parameters
    ----------
    bits
        Bits of a number; from 1 to 24.
    max_rounds
        Rounds after which RuntimeError is raised.
    """

    name = "quantised"

    bits: int = 16
    max_rounds: int = 1_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 24:
            raise ValueError(f"bits must be from 1 to 24, not {self.bits}")
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds must be at least 1, not {self.max_rounds}")

    def sum(self, x: Vector, divisor: int, view: RankView, learned: None) -> Protocol[Estimate]:
        """Scale by the ranks' maximum in D rounds, round to levels, then split masses for a multiple of D rounds."""
        places = yield from exponents(x, view)
        levels = np.rint(np.ldexp(x, self.bits - places.astype(int))).astype(np.int64)
        guard = min(GUARD_BITS, SUM_BITS - self.bits - view.size.bit_length())
        high, low = yield from self._narrowed(np.append(levels, 1) << guard, view)
        mean = 0.5 * (high + low) * (view.size / divisor)
        with np.errstate(over="ignore"):
            value = finite(np.ldexp(mean, places.astype(int) - self.bits))
        return Estimate(value, 2.0 ** (1 - self.bits), self.name)

    def _narrowed(self, mass: Integers, view: RankView) -> Protocol[tuple[Vector, Vector]]:
        """Return the highest and lowest ratio, in levels, once they are within one level."""
        d = mass.size - 1
        for _ in range(0, self.max_rounds, max(1, view.diameter)):
            high = low = mass[:-1] / mass[-1]
            for _ in range(view.diameter):
                share = mass // (1 + view.outdegree)
                received = yield np.concatenate([share, high.view(np.int64), low.view(np.int64)])
                mass = mass - view.outdegree * share + np.sum([m[: d + 1] for m in received], axis=0)
                high = np.maximum.reduce([high, *(m[d + 1 : 2 * d + 1].view(np.float64) for m in received)])
                low = np.minimum.reduce([low, *(m[2 * d + 1 :].view(np.float64) for m in received)])
            if np.all(high - low <= 1.0):
                return high, low
        raise RuntimeError(
            f"integer masses are not within one level after {self.max_rounds} rounds; raise max_rounds or lower bits"
        )
