"""Gamma loss y exp(-z) + z with the log link, for positive targets (McCullagh, Nelder 1989, chapter 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.kernels.loss_block import exponential
from mpiopt.objective.losses.base import BlockFunctions, LabelStatistics, Loss, log_gamma, x_log_x


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = y[i] * exponential(-z[i]) + z[i]


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = 1.0 - y[i] * exponential(-z[i])


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = y[i] * exponential(-z[i])


@dataclass(frozen=True)
class Gamma(Loss):
    """y exp(-z) + z for targets y > 0 with the mean exp(z); curvature y exp(-z), which has no bound.

    The negative log likelihood of gamma targets, times their dispersion (McCullagh, Nelder 1989). The log link is not
    the canonical one, but the one with which the loss is convex for all margins.
    """

    name = "gamma"
    target = "positive"
    family = "Gamma"
    link = "log"
    known_dispersion = False
    functions = BlockFunctions(_value, _slope, _curvature)

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute v log(v/y) − v with v = 1 − u >= 0."""
        v = 1.0 - u[:, 0]
        inside = np.maximum(v, 0.0)
        return np.where(v >= 0.0, x_log_x(inside) - inside * np.log(y) - inside, np.inf)

    def lowest(self, y: Any) -> Any:
        """Compute 1 + log y, at z = log y."""
        return 1.0 + np.log(y)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: exp(b*) is the mean of y exp(−w·x)."""
        return abs(math.log(labels.mean_label)) + size * labels.largest_row

    def expected_curvature(self, z: Any, y: Any) -> Any:
        """Return 1."""
        return np.ones(len(y))

    def variance(self, mean: Any) -> Any:
        """Return the square of the mean."""
        return mean**2

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of a gamma distribution with the shape precision/dispersion."""
        k, ratio = precision / dispersion, y * np.exp(-z[:, 0])
        return k * (np.log(k * ratio) - ratio) - np.log(y) - log_gamma(k)
