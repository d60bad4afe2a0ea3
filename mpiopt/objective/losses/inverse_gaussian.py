"""Inverse Gaussian loss with the link 1/mean, for positive targets (McCullagh, Nelder 1989, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.objective.losses.base import BlockFunctions, LabelStatistics, Loss


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = (0.5 * y[i] * z[i] - 1.0) * z[i]


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = y[i] * z[i] - 1.0


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = y[i] + 0.0 * z[i]


@dataclass(frozen=True)
class InverseGaussian(Loss):
    """½ y z² − z for targets y > 0 with the mean 1/z and the variance mean³; curvature y.

    The negative log likelihood of inverse Gaussian targets, times their dispersion (McCullagh, Nelder 1989), with the
    link z = 1/mean. It is the one of the three usual links with which the loss is convex for all margins: a weighted
    least squares problem. A row with a margin that is not above 0 has no mean (inf).
    """

    name = "inverse-gaussian"
    target = "positive"
    quadratic = True
    family = "Inverse Gaussian"
    link = "inverse"
    known_dispersion = False
    functions = BlockFunctions(_value, _slope, _curvature)

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute (u + 1)²/(2 y)."""
        return (u[:, 0] + 1.0) ** 2 / (2.0 * y)

    def lowest(self, y: Any) -> Any:
        """Compute −1/(2 y), at z = 1/y."""
        return -0.5 / y

    def deviance(self, z: Any, y: Any) -> Any:
        """Compute (y z − 1)²/y, without a difference."""
        return (y * z[:, 0] - 1.0) ** 2 / y

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: b* is 1/ȳ less the mean of w·x, weighted by the targets."""
        return 1.0 / labels.mean_label + size * labels.largest_row

    def expected_curvature(self, z: Any, y: Any) -> Any:
        """Return the mean."""
        return self.mean(z[:, 0])

    def variance(self, mean: Any) -> Any:
        """Return the cube of the mean."""
        return mean**3

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of an inverse Gaussian distribution with the shape precision/dispersion."""
        shape = precision / dispersion
        return 0.5 * (np.log(shape / (2.0 * np.pi * y**3)) - shape * self.deviance(z, y))
