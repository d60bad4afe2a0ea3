"""Logistic loss log(1 + exp(-y z)), labels ±1 (Cox 1958)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.kernels.loss_block import exponential, log1p_unit
from mpiopt.objective.losses.base import BlockFunctions, LabelStatistics, Loss, x_log_x


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        m = y[i] * z[i]
        out[i] = max(-m, 0.0) + log1p_unit(exponential(-abs(m)))


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = -y[i] / (1.0 + exponential(y[i] * z[i]))


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        e = exponential(-abs(z[i]))
        out[i] = e / ((1.0 + e) * (1.0 + e))


@dataclass(frozen=True)
class Logistic(Loss):
    """log(1 + exp(-y z)) for labels ±1; slope -y/(1 + exp(y z)), curvature p (1 - p) <= ¼ with p = 1/(1 + exp(-z)).

    Logistic regression (Cox 1958).
    """

    name = "logistic"
    target = "binary"
    curvature_bound = 0.25
    right_below = math.log(2.0)
    family = "Binomial"
    link = "logit"
    functions = BlockFunctions(_value, _slope, _curvature)

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute q log q + (1 − q) log(1 − q) with q = −y u in [0, 1]."""
        q = -y * u[:, 0]
        inside = np.where((q >= 0.0) & (q < 1.0), q, 0.0)
        entropy = x_log_x(inside) + (1.0 - inside) * np.log1p(-inside)
        return np.where((q >= 0.0) & (q <= 1.0), entropy, np.inf)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: a margin of −t costs a row of the rarer class at least t."""
        return size * labels.largest_row + labels.loss_per_rare_row(above)

    def response(self, y: Any) -> Any:
        """Return 1 for the label +1 and 0 for -1."""
        return 0.5 * (1.0 + y)

    def variance(self, mean: Any) -> Any:
        """Compute p (1 - p)."""
        return mean * (1.0 - mean)

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of the label, times its weight."""
        return -precision * self.value(z, y)
