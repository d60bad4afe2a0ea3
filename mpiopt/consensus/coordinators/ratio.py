"""Ratio consensus that detects its own convergence, on float64 and on integers.

y ← P y, x ← P x with column-stochastic P and x(0) = 1: y_j/x_j tends to the mean (D. Kempe, A. Dobra, J. Gehrke,
FOCS 2003; A. Domínguez-García, C. Hadjicostis, Allerton 2010). Max- and min-consensus of the ratios runs alongside
and restarts every D rounds. The maximum never rises, the minimum never falls, and the mean lies between them
(S. Cady, A. Domínguez-García, C. Hadjicostis, 2015).

On integers, after A. I. Rikos, C. N. Hadjicostis, K. H. Johansson, "Finite time quantized average consensus with
transmission stopping", 2021: masses are integers, are split into integers, and none is lost. Here all out-neighbours
get equal parts, so that one message serves all of them; the sender keeps the remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus.coordinators.base import Coordinator, Estimate, Protocol, RankView, Vector
from mpiopt.consensus.coordinators.max_consensus import exponents, finite
from mpiopt.core.config.job import at_least

GUARD_BITS = 30  # at most, below one level: the remainders of divisions are small beside a level
SUM_BITS = 61  # of the sum of all masses, so that it fits into int64 with its sign
Mass = NDArray[Any]  # (d + 1,) y and x, float64 or int64


class Ratios(NamedTuple):
    """The ratios y/x of all ranks once they are close, and the rounds that this took."""

    high: Vector  # (d,)
    low: Vector  # (d,)
    rounds: int

    @property
    def middle(self) -> Vector:
        """The estimate of the mean."""
        return np.asarray(0.5 * (self.high + self.low))


def close_ratios(
    mass: Mass, split: Callable[[Mass], tuple[Mass, Mass]], width: float, max_rounds: int, view: RankView
) -> Protocol[Ratios]:
    """Exchange masses until the ratios of all ranks are within `width`; a message holds y, x, highest, lowest ratio.

    Parameters
    ----------
    mass
        y and x of this rank.
    split
        Returns what each out-neighbour gets of a mass, and what this rank keeps.
    width
        Largest difference of two ranks' ratios at the end.
    max_rounds
        Rounds after which RuntimeError is raised.
    view
        What this rank knows of the graph.
    """
    d = mass.size - 1
    for rounds in range(0, max_rounds, max(1, view.diameter)):
        high = low = mass[:-1] / mass[-1]
        for _ in range(view.diameter):
            share, kept = split(mass)
            received = yield np.concatenate([share, high.view(mass.dtype), low.view(mass.dtype)])
            mass = kept + np.sum([m[: d + 1] for m in received], axis=0)
            high = np.maximum.reduce([high, *(m[d + 1 : 2 * d + 1].view(np.float64) for m in received)])
            low = np.minimum.reduce([low, *(m[2 * d + 1 :].view(np.float64) for m in received)])
        if np.all(high - low <= width):
            return Ratios(high, low, rounds + view.diameter)
    raise RuntimeError(
        f"ratio consensus is not within {width:g} after {max_rounds} rounds; "
        "raise max_rounds, allow a larger error, or choose finite-field"
    )


@dataclass(frozen=True)
class Ratio(Coordinator):
    """Ratio consensus until max - min <= epsilon of the scale, tested every D rounds; all take the middle of the two.

    A message holds 3 d + 1 float64 numbers.

    Parameters
    ----------
    epsilon
        Tolerance, as a fraction of the largest number of any rank; from 1e-14 to below 1.
    max_rounds
        Rounds after which RuntimeError is raised.
    """

    name = "ratio"

    epsilon: float = 1e-12
    max_rounds: int = 1_000_000

    def __post_init__(self) -> None:
        if not 1e-14 <= self.epsilon < 1.0:
            raise ValueError(f"epsilon must be from 1e-14 to below 1, not {self.epsilon}")
        at_least("max_rounds", self.max_rounds, 1)

    def sum(self, x: Vector, divisor: int, view: RankView, learned: None) -> Protocol[Estimate]:
        """Scale to (-1, 1) by the ranks' maximum in D rounds; then do ratio consensus for a multiple of D rounds."""
        places = yield from exponents(x, view)
        share = 1.0 / (1 + view.outdegree)
        mass = np.append(np.ldexp(x, -places.astype(int)), 1.0)
        ratios = yield from close_ratios(
            mass, lambda m: (share * m, share * m), 0.5 * self.epsilon, self.max_rounds, view
        )
        mean = ratios.middle * (view.size / divisor)
        # The rounding of one round changes the sum by at most (in-degree + 2) units of the scale.
        error = self.epsilon + ratios.rounds * (view.size + 2) * 2.0**-52
        with np.errstate(over="ignore"):
            return Estimate(finite(np.ldexp(mean, places.astype(int))), error, self.name)


@dataclass(frozen=True)
class QuantisedConsensus(Coordinator):
    """Integer masses, split by integer division: stops within one level, 2^-bits of the scale; no rounding adds up.

    A message holds 3 d + 1 numbers of 8 bytes.

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
        at_least("max_rounds", self.max_rounds, 1)

    def sum(self, x: Vector, divisor: int, view: RankView, learned: None) -> Protocol[Estimate]:
        """Scale by the ranks' maximum in D rounds, round to levels, then split masses for a multiple of D rounds."""
        places = yield from exponents(x, view)
        levels = np.rint(np.ldexp(x, self.bits - places.astype(int))).astype(np.int64)
        guard = min(GUARD_BITS, SUM_BITS - self.bits - view.size.bit_length())

        def split(mass: Mass) -> tuple[Mass, Mass]:
            share = mass // (1 + view.outdegree)
            return share, mass - view.outdegree * share

        ratios = yield from close_ratios(np.append(levels, 1) << guard, split, 1.0, self.max_rounds, view)
        mean = ratios.middle * (view.size / divisor)
        with np.errstate(over="ignore"):
            value = finite(np.ldexp(mean, places.astype(int) - self.bits))
        return Estimate(value, 2.0 ** (1 - self.bits), self.name)
