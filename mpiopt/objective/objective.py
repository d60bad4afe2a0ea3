"""The objective F(w) = (1/N) Σ s_i loss_i(W x_i) + l1 ‖w‖₁ + (l2/2) ‖w‖² as one rank sees it: its share of the sums.

Everything here is local and pure; a whole is the sum of the ranks' shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import Shard
from mpiopt.objective import passes
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.penalties.base import Penalty

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
        """Give this rank's share of (1/N) Σ s_i loss_i and its gradient: a pass over the rows; one in all for 0."""
        if w.any():
            return self._share(w, np.empty((0, self.outputs)))
        value, gradient = self._at_zero
        return value, gradient.copy()

    @cached_property
    def _at_zero(self) -> tuple[float, Model]:
        return self._share(self.zeros(), np.empty((0, self.outputs)))

    def refresh(self, w: Model, table: Vector) -> tuple[float, Model]:
        """Do as `evaluate` and fill the SAGA table: table[i] = s_i loss_i'(W x_i), shape (n, outputs)."""
        return self._share(w, table)

    def _share(self, w: Model, table: Vector) -> tuple[float, Model]:
        shard = self.shard
        value, gradient = passes.fused(shard.rows, shard.label, shard.weight, self.loss, w, table)
        return value / shard.total, gradient / shard.total

    def curvatures(self, w: Model) -> Vector:
        """Give s_i loss_i''(W x_i) for each row of this rank (several outputs: the bound), shape (n,)."""
        return self.shard.weight * self.loss.curvature(self.predict(w), self.shard.label)

    def curvature(self, w: Model) -> NDArray[np.float64]:
        """Give this rank's share of (1/N) Σ s_i loss_i''(W x_i) x_i x_iᵀ, shape (width, width)."""
        return self.curvature_with(self.curvatures(w))

    def curvature_with(self, c: Vector) -> NDArray[np.float64]:
        """Give this rank's share of (1/N) Σ c_i x_i x_iᵀ, shape (width, width), for c_i >= 0."""
        return passes.gram(self.shard.rows, c) / self.shard.total

    def hessian_vector(self, c: Vector, p: Model) -> Model:
        """Give this rank's share of (1/N) Σ c_i (P x_i) x_iᵀ, shape (outputs, width), for any c_i."""
        return passes.weighted(self.shard.rows, c, p) / self.shard.total

    def row_norms(self, column: Vector | None = None) -> Vector:
        """Give Σ_j column_j x_ij² for each row of this rank, shape (n,); ‖x_i‖² without `column`."""
        return passes.squared_norms(self.shard.rows, column)

    def row_sum(self, c: Vector) -> Vector:
        """Give Σ c_i x_i over this rank's rows, shape (width,)."""
        return np.asarray(passes.combined(self.shard.rows, c[:, None])[0])

    def row_smoothness(self) -> Vector:
        """Give s_i curvature_bound ‖x_i‖² for each row of this rank, shape (n,); inf where there is no bound."""
        bound = self.loss.curvature_bound
        return self.shard.weight * self.row_norms() * (np.inf if bound is None else bound)

    @cached_property
    def column_counts(self) -> NDArray[np.int64]:
        """In how many of this rank's rows each column is stored, shape (width,); all of them for dense rows."""
        return passes.column_counts(self.shard.rows)

    def predict(self, w: Model) -> NDArray[np.float64]:
        """Give the margins of this rank's rows, shape (n, outputs)."""
        return passes.margins(self.shard.rows, w)
