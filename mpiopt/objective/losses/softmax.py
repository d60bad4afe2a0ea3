"""Multinomial logistic loss log Σ_c exp(z_c) - z_y (softmax regression; bound: Böhning 1992)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.kernels.loss_block import exponential
from mpiopt.objective.losses.base import BlockFunctions, Loss, Reach


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        row = i * outputs
        top = z[row]
        for c in range(1, outputs):
            top = max(top, z[row + c])
        total = 0.0
        for c in range(outputs):
            total += exponential(z[row + c] - top)
        out[i] = math.log(total) + (top - z[row + int(y[i])])


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        row = i * outputs
        top = z[row]
        for c in range(1, outputs):
            top = max(top, z[row + c])
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
        top = z[row]
        for c in range(1, outputs):
            top = max(top, z[row + c])
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
    """log Σ_c exp(z_c) - z_y for class numbers y = 0 … C-1; slope p - e_y, one output per class.

    The Hessian diag(p) - p pᵀ is at most max_c p_c (it is at most diag(p)) and at most max_c 2 p_c (1 - p_c)
    (Gershgorin); `curvature` gives the smaller, at most ½.
    """

    name = "softmax"
    centred = True
    target = "multiclass"
    curvature_bound = 0.5

    @property
    def functions(self) -> BlockFunctions:
        """The block functions of this file."""
        return BlockFunctions(_value, _slope, _curvature)

    def mean_curvature(self, z: Any, y: Any) -> Any:
        """Give (1 - Σ_c p_c²)/(C - 1), the mean eigenvalue across the direction of equal margins."""
        p = self.slope(z, y)
        p[np.arange(len(y)), y.astype(np.int64)] += 1.0
        return (1.0 - (p * p).sum(axis=1)) / max(1, z.shape[1] - 1)

    def outputs(self, classes: int) -> int:
        """Give one weight vector per class."""
        return classes

    def intercept_reach(self, labels: Reach, above: float, size: float) -> float:
        """Bound |b*|: a class t behind another costs its rows t at least."""
        return 2.0 * size * labels.row + above / labels.rarest if labels.rarest > 0.0 else math.inf
