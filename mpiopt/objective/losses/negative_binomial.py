"""Negative binomial loss with the log link, for counts that vary more than Poisson's (J. Hilbe 2011)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.kernels.loss_block import exponential, log1p_unit
from mpiopt.objective.losses.base import (
    BlockFunctions,
    LabelStatistics,
    Loss,
    digamma,
    intercept_between_means,
    log_gamma,
    trigamma,
    x_log_x,
)


@functools.cache
def _functions(theta: float) -> BlockFunctions:
    """Return the block functions for one theta; cached, since a block function is compiled once."""
    shift = math.log(theta)

    def value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            t = z[i] - shift
            tail = log1p_unit(exponential(-abs(t)))
            out[i] = theta * (max(t, 0.0) + tail) + y[i] * (max(-t, 0.0) + tail)

    def slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            t = z[i] - shift
            out[i] = theta / (1.0 + exponential(-t)) - y[i] / (1.0 + exponential(t))

    def curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            e = exponential(-abs(z[i] - shift))
            out[i] = (y[i] + theta) * e / ((1.0 + e) * (1.0 + e))

    return BlockFunctions(value, slope, curvature)


@dataclass(frozen=True)
class NegativeBinomial(Loss):
    """(y + θ) log(1 + exp(z)/θ) + y (log θ - z) for counts with the mean m = exp(z) and the variance m + m²/θ.

    The negative log likelihood without terms of y and θ alone (Hilbe 2011). statsmodels' alpha is 1/θ.

    Parameters
    ----------
    theta : float
        θ, above 0. Poisson's loss is its limit for large θ.
    profile : bool
        Whether θ is estimated before the run (`mpiopt.training.profile`), as R's `glm.nb` does; it begins at `theta`.
    """

    name = "negative-binomial"
    target = "count"
    family = "Negative binomial"
    link = "log"

    theta: float = 1.0
    profile: bool = False

    def __post_init__(self) -> None:
        if not (self.theta > 0.0 and math.isfinite(self.theta)):
            raise ValueError(f"theta must be a positive number, not {self.theta}")

    @property
    def functions(self) -> BlockFunctions:
        """The block functions for this theta."""
        return _functions(float(self.theta))

    @property
    def own_parameters(self) -> int:
        """1 if θ is estimated."""
        return int(self.profile)

    def curve_of_theta(self, z: Any, y: Any) -> tuple[Any, Any]:
        """Compute the first and the second derivative of each row's log likelihood by log θ, (n,) each."""
        theta, mean = self.theta, np.exp(z[:, 0])
        whole = theta + mean
        first = digamma(y + theta) - digamma(np.array([theta])) - np.log1p(mean / theta) + (mean - y) / whole
        second = trigamma(y + theta) - trigamma(np.array([theta])) + mean / (theta * whole) - (mean - y) / whole**2
        return theta * first, theta * theta * second + theta * first

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute (y + θ) (q log q + (1 − q) log(1 − q)) + u log θ with q = (u + y)/(y + θ) in [0, 1].

        In these terms nothing cancels for a large θ, where 1 − q = (θ − u)/(y + θ) is nearly 1.
        """
        u, theta = u[:, 0], self.theta
        q, rest = (u + y) / (y + theta), np.maximum(theta - u, 0.0)
        inside = (q >= 0.0) & (q <= 1.0)
        part = np.where(inside & (q < 1.0), q, 0.0)
        first = x_log_x(np.maximum(u + y, 0.0)) - (u + y) * np.log1p(y / theta) - y * math.log(theta)
        return np.where(inside, first + rest * np.log1p(-part), np.inf)

    def lowest(self, y: Any) -> Any:
        """Compute −y log(y/(y + θ)) − θ log(θ/(y + θ)), at z = log y."""
        return y * np.log1p(self.theta / np.where(y > 0.0, y, 1.0)) + self.theta * np.log1p(y / self.theta)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: not all means are above the largest count, nor all below the mean count."""
        return intercept_between_means(labels, size)

    def expected_curvature(self, z: Any, y: Any) -> Any:
        """Compute m θ/(m + θ)."""
        return self.theta / (1.0 + self.theta * np.exp(-z[:, 0]))

    def variance(self, mean: Any) -> Any:
        """Compute m + m²/θ."""
        return mean * (1.0 + mean / self.theta)

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of the count, times its weight."""
        rest = log_gamma(y + self.theta) - math.lgamma(self.theta) - log_gamma(y + 1.0)
        return precision * (rest - self.value(z, y))
