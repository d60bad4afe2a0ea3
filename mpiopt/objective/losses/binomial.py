"""Binomial loss log(1 + exp(z)) - y z for shares of successes y, weighted by their trials (Cox 1958)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.kernels.loss_block import exponential, log1p_unit
from mpiopt.objective.losses.base import BlockFunctions, LabelStatistics, Loss, log_gamma, x_log_x


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        tail = log1p_unit(exponential(-abs(z[i])))
        out[i] = (1.0 - y[i]) * max(z[i], 0.0) + y[i] * max(-z[i], 0.0) + tail


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = (1.0 - y[i]) / (1.0 + exponential(-z[i])) - y[i] / (1.0 + exponential(z[i]))


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        e = exponential(-abs(z[i]))
        out[i] = e / ((1.0 + e) * (1.0 + e))


@dataclass(frozen=True)
class Binomial(Loss):
    """log(1 + exp(z)) - y z for shares y from 0 to 1; slope p - y, curvature p (1 - p) <= ¼ with p = 1/(1 + exp(-z)).

    The negative log likelihood of y m successes in m trials, over m: give the trials as weights (Cox 1958).
    """

    name = "binomial"
    target = "rate"
    curvature_bound = 0.25
    family = "Binomial"
    link = "logit"
    functions = BlockFunctions(_value, _slope, _curvature)

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute q log q + (1 − q) log(1 − q) with q = u + y in [0, 1]."""
        q = u[:, 0] + y
        within = np.clip(q, 0.0, 1.0)
        return np.where((q >= 0.0) & (q <= 1.0), x_log_x(within) + x_log_x(1.0 - within), np.inf)

    def lowest(self, y: Any) -> Any:
        """Compute −y log y − (1 − y) log(1 − y), at z = log(y/(1 − y))."""
        return -x_log_x(y) - x_log_x(1.0 - y)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: the mean probability is the mean share."""
        mean = labels.mean_label
        return abs(math.log(mean / (1.0 - mean))) + size * labels.largest_row if 0.0 < mean < 1.0 else math.inf

    def variance(self, mean: Any) -> Any:
        """Compute p (1 - p)."""
        return mean * (1.0 - mean)

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of `precision` trials, with the number of ways to draw the successes."""
        won = y * precision
        ways = log_gamma(precision + 1.0) - log_gamma(won + 1.0) - log_gamma(precision - won + 1.0)
        return ways - precision * self.value(z, y)
