"""Multinomial logistic loss log Σ_c exp(z_c) - z_y (softmax regression; bound: Böhning 1992)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.loss_block import exponential
from mpiopt.objective.losses.base import BlockFunctions, LabelStatistics, Loss, class_probabilities, x_log_x

SUM_OF_PROBABILITIES = 1e-9  # by which rounding may move the sum of a row's probabilities from 1


@njit(inline="always")
def _largest(z: Any, row: int, outputs: int) -> Any:
    """Return the largest of the margins z[row : row + outputs]."""
    top = z[row]
    for c in range(1, outputs):
        top = max(top, z[row + c])
    return top


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        row = i * outputs
        top = _largest(z, row, outputs)
        total = 0.0
        for c in range(outputs):
            total += exponential(z[row + c] - top)
        out[i] = math.log(total) + (top - z[row + int(y[i])])


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        row = i * outputs
        top = _largest(z, row, outputs)
        total = 0.0
        for c in range(outputs):
            out[row + c] = exponential(z[row + c] - top)
            total += out[row + c]
        for c in range(outputs):
            out[row + c] /= total
        out[row + int(y[i])] -= 1.0


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        row = i * outputs
        top = _largest(z, row, outputs)
        total = 0.0
        disc = 0.0
        for c in range(outputs):
            total += exponential(z[row + c] - top)
        for c in range(outputs):
            p = exponential(z[row + c] - top) / total
            disc = max(disc, 2.0 * p * (1.0 - p))
        out[i] = min(disc, 1.0 / total)  # the largest probability is exp(0) / total


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
        p = class_probabilities(self.slope(z, y), y)
        return (1.0 - (p * p).sum(axis=1)) / max(1, z.shape[1] - 1)

    def outputs(self, classes: int) -> int:
        """Return the number of classes: one weight vector for each."""
        return classes

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute Σ_c p_c log p_c with p = u + e_y, which are probabilities."""
        p = class_probabilities(u, y)
        inside = (p >= 0.0).all(axis=1) & (np.abs(p.sum(axis=1) - 1.0) <= SUM_OF_PROBABILITIES)
        return np.where(inside, x_log_x(np.maximum(p, 0.0)).sum(axis=1), np.inf)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound the differences of intercepts: a class t behind another costs its rows at least t."""
        return 2.0 * size * labels.largest_row + labels.loss_per_rare_row(above)

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of the class, times its weight."""
        return -precision * self.value(z, y)
