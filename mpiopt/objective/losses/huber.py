"""Huber's loss: squared near the target, linear beyond delta (Huber 1964)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.objective.losses.base import BlockFunctions, ClippedLine, LabelStatistics, Loss


@functools.cache
def _functions(delta: float) -> BlockFunctions:
    """Return the block functions for one delta; cached, since a block function is compiled once."""

    def value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            r = abs(z[i] - y[i])
            out[i] = delta * (r - 0.5 * delta) if r > delta else 0.5 * r * r

    def slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            r = z[i] - y[i]
            r = delta if r > delta else r
            out[i] = -delta if r < -delta else r

    def curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
        for i in range(n):
            out[i] = 0.0 if abs(z[i] - y[i]) > delta else 1.0

    return BlockFunctions(value, slope, curvature)


@dataclass(frozen=True)
class Huber(Loss):
    """½ r² where r = |z - y| <= delta, else delta (r - ½ delta), for real targets; curvature 1 or 0 (Huber 1964).

    Parameters
    ----------
    delta : float
        Residual beyond which the loss is linear, in units of the target; above 0.
    """

    name = "huber"
    target = "real"
    curvature_bound = 1.0
    jumps = True
    of_residual = True

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not (self.delta > 0 and math.isfinite(self.delta)):
            raise ValueError(f"delta must be a positive number, not {self.delta}")

    @property
    def functions(self) -> BlockFunctions:
        """The block functions for this delta."""
        return _functions(float(self.delta))

    @property
    def knee(self) -> float:
        """The residual delta."""
        return self.delta

    def majorant(self, z: Any, y: Any) -> Any:
        """Compute min(1, delta/|r|): iteratively reweighted least squares (Huber 1964; Holland, Welsch 1977)."""
        return self.delta / np.maximum(np.abs(z[:, 0] - y), self.delta)

    def clipped_line(self, y: Any) -> ClippedLine:
        """Return z - y, clipped at ±delta."""
        return ClippedLine(1.0, y, np.full(len(y), -self.delta), np.full(len(y), self.delta))

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute ½ u² + u y where |u| <= delta."""
        u = u[:, 0]
        return np.where(np.abs(u) <= self.delta, u * (0.5 * u + y), np.inf)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: beyond max |y| + max |w·x| all slopes have one sign."""
        return labels.largest_label + size * labels.largest_row
