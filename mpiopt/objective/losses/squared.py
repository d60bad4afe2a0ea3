"""Squared loss ½ (z - y)², the loss of least squares (Gauss 1809; with the factor ½)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.objective.losses.base import BlockFunctions, ClippedLine, LabelStatistics, Loss


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = 0.5 * (z[i] - y[i]) * (z[i] - y[i])


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = z[i] - y[i]


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = 1.0


@dataclass(frozen=True)
class Squared(Loss):
    """½ (z - y)² for real targets; slope z - y, curvature 1.

    Least squares (Gauss 1809).
    """

    name = "squared"
    target = "real"
    curvature_bound = 1.0
    quadratic = True
    of_residual = True
    family = "Gaussian"
    known_dispersion = False
    functions = BlockFunctions(_value, _slope, _curvature)

    def clipped_line(self, y: Any) -> ClippedLine:
        """Return z - y, which is clipped nowhere."""
        return ClippedLine(1.0, y, np.full(len(y), -np.inf), np.full(len(y), np.inf))

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute ½ u² + u y."""
        return u[:, 0] * (0.5 * u[:, 0] + y)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: b* is the mean of y − w·x."""
        return labels.largest_label + size * labels.mean_row

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of a normal distribution with the variance dispersion/precision."""
        return -0.5 * ((z[:, 0] - y) ** 2 * precision / dispersion + np.log(2.0 * np.pi * dispersion / precision))
