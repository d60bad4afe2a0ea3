"""Poisson loss exp(z) - y z, the negative log likelihood of counts without log y! (Nelder, Wedderburn 1972)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.kernels.loss_block import exponential
from mpiopt.objective.losses.base import BlockFunctions, LabelStatistics, Loss, log_gamma, x_log_x


def _value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = exponential(z[i]) - y[i] * z[i]


def _slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = exponential(z[i]) - y[i]


def _curvature(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    for i in range(n):
        out[i] = exponential(z[i])


@dataclass(frozen=True)
class Poisson(Loss):
    """exp(z) - y z for counts y >= 0; slope exp(z) - y, curvature exp(z), which has no bound.

    The negative log likelihood of counts without log y! (Nelder, Wedderburn 1972).
    """

    name = "poisson"
    target = "count"
    family = "Poisson"
    link = "log"
    functions = BlockFunctions(_value, _slope, _curvature)

    def conjugate(self, u: Any, y: Any) -> Any:
        """Compute m log m − m with the mean m = u + y >= 0."""
        m = u[:, 0] + y
        return np.where(m >= 0.0, x_log_x(np.maximum(m, 0.0)) - m, np.inf)

    def intercept_bound(self, labels: LabelStatistics, above: float, size: float) -> float:
        """Bound |b*|: the mean of exp(z) is the mean of y."""
        return abs(math.log(labels.mean_label)) + size * labels.largest_row if labels.mean_label > 0.0 else math.inf

    def lowest(self, y: Any) -> Any:
        """Compute y − y log y, at z = log y."""
        return y - y * np.log(np.where(y > 0.0, y, 1.0))

    def variance(self, mean: Any) -> Any:
        """Return the mean."""
        return mean

    def log_likelihood(self, z: Any, y: Any, precision: Any, dispersion: float) -> Any:
        """Compute that of the count, times its weight."""
        return -precision * (self.value(z, y) + log_gamma(y + 1.0))

    def total_log_likelihood(self, y: Any, precision: Any) -> Any:
        """Compute it for counts; the precision is the exposure."""
        count = y * precision
        return precision * log_gamma(y + 1.0) + count * np.log(precision) - log_gamma(count + 1.0)
