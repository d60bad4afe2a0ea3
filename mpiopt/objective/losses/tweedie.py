"""Tweedie's loss with the log link, for sums of claims with many zeros (B. Jørgensen 1987; G. Smyth 1996)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.loss_block import exponential
from mpiopt.objective.losses.base import BlockFunctions, LabelStatistics, Loss, intercept_between_means

STEPS = 60  # of a safeguarded Newton iteration; a bisection of the bracket to float64 takes no more


@functools.cache
def _functions(power: float) -> BlockFunctions:
    """Return the block functions for one power; cached, since a block function is compiled once."""
    down, up = power - 1.0, 2.0 - power

    def value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            left = y[i] * exponential(-down * z[i]) / down if y[i] > 0.0 else 0.0
            out[i] = left + exponential(up * z[i]) / up

    def slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            left = y[i] * exponential(-down * z[i]) if y[i] > 0.0 else 0.0
            out[i] = exponential(up * z[i]) - left

    def curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            left = y[i] * exponential(-down * z[i]) if y[i] > 0.0 else 0.0
            out[i] = up * exponential(up * z[i]) + down * left

    return BlockFunctions(value, slope, curvature)


@dataclass(frozen=True)
class Tweedie(Loss):
    """y exp(-(p-1) z)/(p-1) + exp((2-p) z)/(2-p) for targets y >= 0 with the mean exp(z) and the variance mean^p.

    The negative log likelihood of a Poisson sum of gamma amounts, times its dispersion (Jørgensen 1987; Smyth 1996).

    Parameters
    ----------
    power : float
        p, above 1 and below 2.
    """

    name = "tweedie"
    target = "count"
    family = "Tweedie"
    link = "log"
    known_dispersion = False

    power: float = 1.5

    def __post_init__(self) -> None:
        if not 1.0 < self.power < 2.0:
            raise ValueError(
                f"power must be above 1 and below 2, not {self.power}; use poisson for 1 and gamma for 2"
            )

    @property
    def functions(self) -> BlockFunctions:
        """The block functions for this power."""
        return _functions(float(self.power))

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute the largest u z − loss: at the margin with the slope u, found to rounding."""
        u, up = u[:, 0], 2.0 - self.power
        inside = np.where((y > 0.0) | (u > 0.0), u, 1.0)
        z = self._margin_of(inside, y)[:, None]
        found = inside * z[:, 0] - self.value(z, y)
        at_zero = np.where(
            u > 0.0, u * np.log(np.where(u > 0.0, u, 1.0)) / up - u / up, np.where(u < 0.0, np.inf, 0.0)
        )
        return np.where(y > 0.0, found, at_zero)

    def _margin_of(self, u: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the margin z with exp((2-p) z) − y exp(-(p-1) z) = u, for u > 0 where y = 0."""
        down, up = self.power - 1.0, 2.0 - self.power
        positive = np.where(y > 0.0, y, 1.0)
        middle = np.log(positive)
        reach = np.abs(u) + np.where(y > 0.0, positive**up, 0.0)
        top = np.log(reach) / up
        high = np.where(u >= 0.0, np.maximum(top, np.where(y > 0.0, middle, top)), middle)
        low = np.where(u >= 0.0, np.where(y > 0.0, middle, top), np.log(positive / reach) / down)
        z = np.where(u >= 0.0, high, low)
        for _ in range(STEPS):
            rise = np.exp(up * z)
            fall = y * np.exp(-down * z)
            g = rise - fall - u
            low, high = np.where(g < 0.0, z, low), np.where(g > 0.0, z, high)
            newton = z - g / (up * rise + down * fall)
            new = np.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
            if np.array_equal(new, z):
                break
            z = new
        return np.asarray(z)

    def lowest(self, y: Any) -> Any:
        """Compute y^(2-p)/((p-1) (2-p)), at z = log y."""
        return y ** (2.0 - self.power) / ((self.power - 1.0) * (2.0 - self.power))

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: not all means are above the largest target, nor all below the mean target."""
        return intercept_between_means(labels, size)

    def expected_curvature(self, z: Any, y: Any) -> Any:
        """Compute mean^(2-p)."""
        return np.exp((2.0 - self.power) * z[:, 0])

    def variance(self, mean: Any) -> Any:
        """Compute mean^p."""
        return mean**self.power

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of the Poisson sum; its series is SciPy's `log_wright_bessel` (P. Dunn, G. Smyth 2005)."""
        from scipy.special import log_wright_bessel

        scale, p = dispersion / precision, self.power
        positive = np.where(y > 0.0, y, 1.0)
        alpha = (2.0 - p) / (p - 1.0)
        x = ((p - 1.0) * scale / positive) ** -alpha / ((2.0 - p) * scale)
        series = np.where(y > 0.0, log_wright_bessel(alpha, 0.0, x) - np.log(positive), 0.0)
        return series - self.value(z, y) / scale

    def total_log_likelihood(self, y: Any, precision: Any) -> Any:
        """Compute it for sums; the precision is the exposure to the power 2 − p, and 0 has a probability."""
        return np.where(y > 0.0, -np.log(precision) / (2.0 - self.power), 0.0)
