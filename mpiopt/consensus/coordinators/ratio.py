"""Ratio consensus that stops itself.

y <- P y, x <- P x with column-stochastic P, x(0) = 1: y_j/x_j tends to the mean (Kempe, Dobra, Gehrke 2003;
Domínguez-García, Hadjicostis 2010). Every D rounds max- and min-consensus of the ratios is done and starts anew: the
maximum never rises, the minimum never falls, the mean is between them (Cady, Domínguez-García, Hadjicostis 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.consensus.coordinators.base import Coordinator, Estimate, Protocol, Site, Vector
from mpiopt.consensus.coordinators.max_consensus import exponents, finite


@dataclass(frozen=True)
class Ratio(Coordinator):
    """Ratio consensus until max - min <= epsilon of the scale, seen every D rounds; all take the middle of the two.

    Message: y, highest and lowest ratio, x; float64, 3 d + 1 numbers.
    """

    name = "ratio"

    epsilon: float = 1e-12
    max_rounds: int = 1_000_000

    def __post_init__(self) -> None:
        if not 1e-14 <= self.epsilon < 1.0:
            raise ValueError(f"epsilon must be from 1e-14 to below 1, not {self.epsilon}")
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds must be at least 1, not {self.max_rounds}")

    def sum(self, x: Vector, divisor: int, site: Site, learned: None) -> Protocol[Estimate]:
        """Scale to (-1, 1) by the ranks' maximum, D rounds; then ratio consensus, a multiple of D rounds."""
        places = yield from exponents(x, site)
        value = np.ldexp(x, -places.astype(int))
        high, low, rounds = yield from self._narrowed(value, site)
        mean = 0.5 * (high + low) * (site.size / divisor)
        # A round's rounding changes the sum by at most (in-degree + 2) units of the scale.
        error = self.epsilon + rounds * (site.size + 2) * 2.0**-52
        with np.errstate(over="ignore"):
            return Estimate(finite(np.ldexp(mean, places.astype(int))), error, self.name)

    def _narrowed(self, value: Vector, site: Site) -> Protocol[tuple[Vector, Vector, int]]:
        share, d = 1.0 / (1 + site.outdegree), value.size
        mass = np.concatenate([value, [1.0]])
        for rounds in range(0, self.max_rounds, max(1, site.diameter)):
            high = low = mass[:-1] / mass[-1]
            for _ in range(site.diameter):
                received = yield np.concatenate([mass * share, high, low])
                mass = share * mass + np.sum([m[: d + 1] for m in received], axis=0)
                high = np.maximum.reduce([high, *(m[d + 1 : 2 * d + 1] for m in received)])
                low = np.minimum.reduce([low, *(m[2 * d + 1 :] for m in received)])
            if np.all(high - low <= 0.5 * self.epsilon):
                return high, low, rounds + site.diameter
        raise RuntimeError(f"ratio consensus is not within {self.epsilon:g} after {self.max_rounds} rounds")
