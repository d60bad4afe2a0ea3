"""The objective F(w) = (1/N) Σ s_i loss_i(W x_i) + l1 ‖w‖₁ + (l2/2) ‖w‖² as one rank sees it: its share of the sums.

Everything here is local and pure; a whole is the sum of the ranks' shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpiopt.losses import Loss
from mpiopt.penalties import Penalty
from mpiopt.shard import Shard

Vector = NDArray[np.float64]
Model = NDArray[np.float64]  # (outputs, width)


@dataclass(frozen=True, eq=False)
class Objective:
    """Loss, penalty and the shard of one rank."""

    loss: Loss
    penalty: Penalty
    shard: Shard
    classes: int = 2

    @property
    def outputs(self) -> int:
        """Weight vectors of the model."""
        return self.loss.outputs(self.classes)

    @property
    def width(self) -> int:
        """Columns of the model: features, intercept, padding."""
        return self.shard.rows.width

    def zeros(self) -> Model:
        """Give the model 0, shape (outputs, width)."""
        return np.zeros((self.outputs, self.width))

    @cached_property
    def ridge(self) -> Vector:
        """l2 for each column: 0 at the intercept and the padding; shape (width,)."""
        return self._per_feature(getattr(self.penalty, "l2", 0.0))

    @cached_property
    def threshold(self) -> Vector:
        """l1 for each column: 0 at the intercept and the padding; shape (width,)."""
        return self._per_feature(getattr(self.penalty, "l1", 0.0))

    def _per_feature(self, number: float) -> Vector:
        column = np.zeros(self.width)
        column[: self.shard.features] = number
        return column

    def penalty_value(self, w: Model) -> float:
        """Give l1 ‖w‖₁ + (l2/2) ‖w‖² without the intercept."""
        return float((self.threshold * np.abs(w)).sum() + 0.5 * (self.ridge * w * w).sum())

    def evaluate(self, w: Model) -> tuple[float, Model]:
        """Give this rank's share of (1/N) Σ s_i loss_i and of its gradient, in one pass over the rows."""
        raise RuntimeError("kernels are not here yet")

    def refresh(self, w: Model, table: Vector) -> tuple[float, Model]:
        """Do as `evaluate` and fill the SAGA table: table[i] = s_i loss_i'(W x_i), shape (n, outputs)."""
        raise RuntimeError("kernels are not here yet")

    def curvature(self, w: Model) -> NDArray[np.float64]:
        """Give this rank's share of (1/N) Σ s_i loss_i''(W x_i) x_i x_iᵀ, shape (width, width)."""
        raise RuntimeError("kernels are not here yet")

    def row_smoothness(self) -> Vector:
        """Give s_i curvature_bound ‖x_i‖² for each row of this rank, shape (n,)."""
        raise RuntimeError("kernels are not here yet")

    def predict(self, w: Model) -> NDArray[np.float64]:
        """Give the margins of this rank's rows, shape (n, outputs)."""
        raise RuntimeError("kernels are not here yet")
