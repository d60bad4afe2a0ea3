"""Ratio consensus on whole numbers (after Rikos, Hadjicostis, Johansson 2021, "Finite time quantized average
consensus with transmission stopping": masses are whole, split into whole parts, and none is lost).

Here the parts are equal for all out-neighbours, so that one message serves all; the sender keeps the remainder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus.coordinators.base import Coordinator, Estimate, Protocol, Site, Vector
from mpiopt.consensus.coordinators.max_consensus import exponents, finite

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class QuantisedConsensus(Coordinator):
    """Whole masses, split by whole division: stops within one level, 2^-bits of the scale; no rounding adds up.

    Message: y, x (int64), highest and lowest ratio in levels (float64): 3 d + 1 numbers.
    """

    name = "quantised"

    bits: int = 16
    max_rounds: int = 1_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 24:
            raise ValueError(f"bits must be from 1 to 24, not {self.bits}")
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds must be at least 1, not {self.max_rounds}")

    def sum(self, x: Vector, divisor: int, site: Site, learned: None) -> Protocol[Estimate]:
        """Scale by the ranks' maximum, D rounds; round to a level; split masses, a multiple of D rounds."""
        places = yield from exponents(x, site)
        levels = np.rint(np.ldexp(x, self.bits - places.astype(int))).astype(np.int64)
        # 2^guard parts of a level: what division leaves over is small beside it.
        guard = min(30, 61 - self.bits - site.size.bit_length())
        high, low = yield from self._narrowed(np.append(levels, 1) << guard, site)
        mean = 0.5 * (high + low) * (site.size / divisor)
        with np.errstate(over="ignore"):
            value = finite(np.ldexp(mean, places.astype(int) - self.bits))
        return Estimate(value, 2.0 ** (1 - self.bits), self.name)

    def _narrowed(self, mass: Whole, site: Site) -> Protocol[tuple[Vector, Vector]]:
        d = mass.size - 1
        for _ in range(0, self.max_rounds, max(1, site.diameter)):
            high = low = mass[:-1] / mass[-1]
            for _ in range(site.diameter):
                share = mass // (1 + site.outdegree)
                received = yield np.concatenate([share, high.view(np.int64), low.view(np.int64)])
                mass = mass - site.outdegree * share + np.sum([m[: d + 1] for m in received], axis=0)
                high = np.maximum.reduce([high, *(m[d + 1 : 2 * d + 1].view(np.float64) for m in received)])
                low = np.minimum.reduce([low, *(m[2 * d + 1 :].view(np.float64) for m in received)])
            if np.all(high - low <= 1.0):
                return high, low
        raise RuntimeError(f"whole masses are not within one level after {self.max_rounds} rounds")
