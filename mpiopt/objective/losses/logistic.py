"""Logistic loss log(1 + exp(-y z)), labels ±1 (Cox 1958)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mpiopt.kernels.loss_block import exponential, log1p_unit
from mpiopt.objective.losses.base import BlockFunctions, Loss, Reach


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
    """log(1 + exp(-y z)) for labels ±1; slope -y/(1 + exp(y z)), curvature p (1 - p) <= ¼."""

    name = "logistic"
    target = "binary"
    curvature_bound = 0.25

    @property
    def functions(self) -> BlockFunctions:
        """The block functions of this file."""
        return BlockFunctions(_value, _slope, _curvature)

    def intercept_reach(self, labels: Reach, above: float, size: float) -> float:
        """Bound |b*|: a margin of −t costs the rarer class t a row at least."""
        return size * labels.row + above / labels.rarest if labels.rarest > 0.0 else math.inf
