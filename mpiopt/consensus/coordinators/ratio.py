"""Ratio consensus that detects its own convergence.

y ← P y, x ← P x with column-stochastic P and x(0) = 1: y_j/x_j tends to the mean (D. Kempe, A. Dobra, J. Gehrke,
FOCS 2003; A. Domínguez-García, C. Hadjicostis, Allerton 2010). Max- and min-consensus of the ratios runs alongside
and restarts every D rounds. The maximum never rises, the minimum never falls, and the mean lies between them
(S. Cady, A. Domínguez-García, C. Hadjicostis, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.consensus.coordinators.base import Coordinator, Estimate, Protocol, RankView, Vector
from mpiopt.consensus.coordinators.max_consensus import exponents, finite


@dataclass(frozen=True)
class Ratio(Coordinator):
    """Ratio consensus until max - min <= epsilon of the scale, seen every D rounds; all take the middle of the two.

    A message holds y, the highest and the lowest ratio, and x: 3 d + 1 float64 numbers.

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
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds must be at least 1, not {self.max_rounds}")

    def sum(self, x: Vector, divisor: int, view: RankView, learned: None) -> Protocol[Estimate]:
        """Scale to (-1, 1) by the ranks' maximum in D rounds; then do ratio consensus for a multiple of D rounds."""
        places = yield from exponents(x, view)
        value = np.ldexp(x, -places.astype(int))
        high, low, rounds = yield from self._narrowed(value, view)
        mean = 0.5 * (high + low) * (view.size / divisor)
        # The rounding of one round changes the sum by at most (in-degree + 2) units of the scale.
        error = self.epsilon + rounds * (view.size + 2) * 2.0**-52
        with np.errstate(over="ignore"):
            return Estimate(finite(np.ldexp(mean, places.astype(int))), error, self.name)

    def _narrowed(self, value: Vector, view: RankView) -> Protocol[tuple[Vector, Vector, int]]:
        """Return the highest and lowest ratio once they are near enough, and the rounds."""
        share, d = 1.0 / (1 + view.outdegree), value.size
        mass = np.concatenate([value, [1.0]])
        for rounds in range(0, self.max_rounds, max(1, view.diameter)):
            high = low = mass[:-1] / mass[-1]
            for _ in range(view.diameter):
                received = yield np.concatenate([mass * share, high, low])
                mass = share * mass + np.sum([m[: d + 1] for m in received], axis=0)
                high = np.maximum.reduce([high, *(m[d + 1 : 2 * d + 1] for m in received)])
                low = np.minimum.reduce([low, *(m[2 * d + 1 :] for m in received)])
            if np.all(high - low <= 0.5 * self.epsilon):
                return high, low, rounds + view.diameter
        raise RuntimeError(
            f"ratio consensus is not within {self.epsilon:g} after {self.max_rounds} rounds; "
            "raise epsilon or max_rounds, or choose finite-field"
        )
