"""Penalties on the weights (never on the intercept): h(w) = l1 ‖w‖₁ + (l2/2) ‖w‖², or a part of it."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import Plugin

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Penalty(Plugin, ABC):
    """A separable penalty; `l1` and `l2` are read by kernels, zero where the member has no such option.

    The arrays below hold penalised weights only, of any shape: the caller leaves out the intercept.
    """

    smooth: ClassVar[bool]

    def __post_init__(self) -> None:
        for field in self.options():
            number = getattr(self, field)
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"{field} must be a number >= 0, not {number}")

    @property
    def strengths(self) -> tuple[float, float]:
        """The pair (l1, l2)."""
        return float(getattr(self, "l1", 0.0)), float(getattr(self, "l2", 0.0))

    def value(self, w: Array) -> float:
        """Give h(w)."""
        l1, l2 = self.strengths
        return float(l1 * np.abs(w).sum() + 0.5 * l2 * (w * w).sum())

    def prox(self, w: Array, step: Array | float) -> Array:
        """Give argmin_u h(u) + ‖u - w‖²/(2 step); `step` is a number or one for each column."""
        l1, l2 = self.strengths
        shrunk: Array = np.sign(w) * np.maximum(np.abs(w) - step * l1, 0.0) / (1.0 + step * l2)
        return shrunk

    def gap(self, w: Array, v: Array) -> float:
        """Give Σ_j h(w_j) + h*(v_j) - v_j w_j: at least 0, and 0 where v is a subgradient of h at w.

        h*(v) = (|v| - l1)₊² / (2 l2); for l2 = 0 it is 0 where |v| <= l1 and inf elsewhere. With v minus the
        gradient of the loss at w it is the penalty's part of the duality gap.
        """
        l1, l2 = self.strengths
        over = np.maximum(np.abs(v) - l1, 0.0)
        if l2 == 0.0 and over.any():
            return math.inf
        # Two terms, each at least 0; summed in the form above, cancellation would hide a small gap.
        ridge = 0.5 * l2 * (np.abs(w) - over / l2) ** 2 if l2 > 0.0 else 0.0
        return float((ridge + np.abs(w) * (np.maximum(np.abs(v), l1) - np.sign(w) * v)).sum())
