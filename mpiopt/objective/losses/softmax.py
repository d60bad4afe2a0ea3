"""Multinomial logistic loss log Σ_c exp(z_c) - z_y (softmax regression; bound: Böhning 1992).

Where a row is surely of its class, 1 - p_y is small, and the difference of 1 and p_y would be rounding. It is the sum
of the other probabilities, exact to the last digits. So the slopes of a row sum to 0, as those of a dual point must.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.loss_block import exponential
from mpiopt.objective.losses.base import (
    BlockFunctions,
    LabelStatistics,
    Loss,
    class_complements,
    class_probabilities,
    x_log_x,
)

SUM_OF_PROBABILITIES = 1e-9  # by which rounding may move the sum of a row's probabilities from 1


@njit(inline="always")
def _largest(z: Any, row: int, outputs: int) -> Any:
    """Return the place of the largest of the margins z[row : row + outputs]."""
    top = row
    for at in range(row + 1, row + outputs):
        if z[at] > z[top]:
            top = at
    return top


@njit(inline="always")
def _others(z: Any, row: int, outputs: int, top: int) -> Any:
    """Return Σ exp(z_c - z_top) over the classes but the one at `top`."""
    total = 0.0
    for at in range(row, row + outputs):
        if at != top:
            total += exponential(z[at] - z[top])
    return total


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        row = i * outputs
        top = _largest(z, row, outputs)
        out[i] = math.log1p(_others(z, row, outputs, top)) + (z[top] - z[row + int(y[i])])


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        row = i * outputs
        top, own = z[_largest(z, row, outputs)], row + int(y[i])
        total = 0.0
        for at in range(row, row + outputs):
            out[at] = exponential(z[at] - top)
            total += out[at]
        out[own] = 0.0
        others = 0.0
        for at in range(row, row + outputs):
            out[at] /= total
            others += out[at]
        out[own] = -others


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        row = i * outputs
        top = _largest(z, row, outputs)
        rest = _others(z, row, outputs, top)
        p = 1.0 / (1.0 + rest)  # the largest probability: that of a class with p (1 - p) at its largest
        out[i] = min(2.0 * p * (p * rest), p)


@dataclass(frozen=True)
class Softmax(Loss):
    """log Σ_c exp(z_c) - z_y for class numbers y = 0 … C-1; slope p - e_y, one output for each class.

    Multinomial logistic regression (bound: Böhning 1992). The Hessian diag(p) - p pᵀ is at most max_c p_c, since it
    is at most diag(p), and at most max_c 2 p_c (1 - p_c) (Gershgorin); `curvature` is the smaller one, at most ½.
    """

    name = "softmax"
    centred = True
    target = "multiclass"
    curvature_bound = 0.5
    right_below = math.log(2.0)
    family = "Multinomial"
    link = "logit"
    functions = BlockFunctions(_value, _slope, _curvature)

    def mean_curvature(self, z: Any, y: Any) -> Any:
        """Compute (1 - Σ_c p_c²)/(C - 1), the mean eigenvalue across the direction of equal margins."""
        slopes = self.slope(z, y)
        spread = class_probabilities(slopes, y) * class_complements(slopes, y)
        return spread.sum(axis=1) / max(1, z.shape[1] - 1)

    def outputs(self, classes: int) -> int:
        """Return the number of classes: one weight vector for each."""
        return classes

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute Σ_c p_c log p_c with p = u + e_y, which are probabilities."""
        p, own = class_probabilities(u, y), (np.arange(len(y)), y.astype(np.int64))
        inside = (p >= 0.0).all(axis=1) & (np.abs(p.sum(axis=1) - 1.0) <= SUM_OF_PROBABILITIES)
        parts = x_log_x(np.maximum(p, 0.0))
        sure = p[own] > 0.5
        parts[own] = np.where(sure, p[own] * np.log1p(np.where(sure, u[own], 0.0)), parts[own])
        return np.where(inside, parts.sum(axis=1), np.inf)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound the differences of intercepts: a class t behind another costs its rows at least t."""
        return 2.0 * size * labels.largest_row + labels.loss_per_rare_row(above)

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of the class, times its weight."""
        return -precision * self.value(z, y)
