"""Squared hinge loss max(0, 1 - y z)², of the L2-loss support vector machine (LIBLINEAR, Fan et al. 2008)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.objective.losses.base import BlockFunctions, ClippedLine, LabelStatistics, Loss


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        r = 1.0 - y[i] * z[i]
        out[i] = 0.0 if r < 0.0 else r * r


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        r = 1.0 - y[i] * z[i]
        out[i] = 0.0 if r < 0.0 else -2.0 * y[i] * r


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = 0.0 if y[i] * z[i] > 1.0 else 2.0


@dataclass(frozen=True)
class SquaredHinge(Loss):
    """max(0, 1 - y z)² for labels ±1; slope -2 y max(0, 1 - y z), curvature 2 where y z <= 1.

    The L2-loss support vector machine (Fan et al. 2008, LIBLINEAR).
    """

    name = "squared-hinge"
    target = "binary"
    curvature_bound = 2.0
    jumps = True
    functions = BlockFunctions(_value, _slope, _curvature)

    def majorant(self, z: Any, y: Any) -> Any:
        """Return 2: beyond the margin 1, too, a parabola that touches the loss lies above it."""
        return np.full(len(y), 2.0)

    def clipped_line(self, y: Any) -> ClippedLine:
        """Return 2 (z - y), of the sign of -y or 0."""
        return ClippedLine(2.0, y, np.where(y > 0.0, -np.inf, 0.0), np.where(y > 0.0, 0.0, np.inf))

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute t²/4 − t with t = −y u >= 0."""
        t = -y * u[:, 0]
        return np.where(t >= 0.0, t * (0.25 * t - 1.0), np.inf)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: a margin of −t costs a row of the rarer class at least t²."""
        return size * labels.largest_row + math.sqrt(labels.loss_per_rare_row(above))
