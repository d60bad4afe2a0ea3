"""The second derivatives of the rows' losses at one model: products of the whole Hessian, and its diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import DenseRows
from mpiopt.kernels import hessian_products
from mpiopt.objective import passes
from mpiopt.objective.losses.base import class_complements, class_probabilities
from mpiopt.objective.objective import Model, Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


class Product(NamedTuple):
    """A Hessian times a direction P, as one rank sees it."""

    share: Model  # (outputs, width) this rank's share of H P, without the ridge
    margins: Matrix  # (n, outputs) P x_i


@dataclass(frozen=True, eq=False)
class RowHessians:
    """C_i, the Hessian of s_i loss_i by the margins of row i: c_i, or c_i (diag(q_i) − q_i q_iᵀ) for softmax.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective.
    c : ndarray, shape (n,)
        s_i loss_i'' with one output, s_i with several.
    q : ndarray, shape (n, outputs), or (0, 1) with one output
        Class probabilities.
    rest : ndarray, shape (n, outputs), or (0, 1) with one output
        1 − q, to all digits where q is near 1.

    Examples
    --------
    >>> import numpy as np
    >>> from mpiopt.data.shard import DenseRows, Shard
    >>> from mpiopt.objective.losses.base import Loss
    >>> from mpiopt.objective.penalties.base import Penalty
    >>> rows = DenseRows(2.0 * np.eye(8))
    >>> shard = Shard(rows, np.zeros(8), np.ones(8), np.arange(8), 0, 8, 8)
    >>> hessians = RowHessians.at(Objective(Loss.make("squared"), Penalty.make("none"), shard), np.zeros((8, 1)))
    >>> hessians.product(np.ones((1, 8))).share.tolist()
    [[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]]
    """

    objective: Objective
    c: Vector
    q: Matrix
    rest: Matrix

    @classmethod
    def at(cls, objective: Objective, margins: Matrix) -> RowHessians:
        """Return the curvature of this rank's rows at a model with these margins, shape (n, outputs)."""
        loss, shard = objective.loss, objective.shard
        if objective.outputs == 1:
            none = np.empty((0, 1))
            return cls(objective, shard.weight * loss.curvature(margins, shard.label), none, none)
        if loss.name != "softmax":
            raise ValueError(f"Hessian products take losses with one output, or softmax, not {loss.name}")
        slopes, y = loss.slope(margins, shard.label), shard.label
        return cls(objective, shard.weight, class_probabilities(slopes, y), class_complements(slopes, y))

    def product(self, p: Model) -> Product:
        """Compute this rank's share of (1/N) Σ C_i (P x_i) x_iᵀ, in one pass over the rows."""
        rows, table = self.objective.shard.rows, np.empty((len(self.objective.shard), len(p)))
        p = np.ascontiguousarray(p, np.float64)
        if isinstance(rows, DenseRows):
            total = np.zeros_like(p)
            hessian_products.product_dense(rows.values, self.c, self.q, p, total, table)
        else:
            columns, sums = passes.by_column(p), passes.zero_columns(*p.shape)
            hessian_products.product_csr(passes.arrays(rows), self.c, self.q, columns, sums, table)
            total = passes.by_output(sums, len(p))
        total /= self.objective.shard.total  # in place: with many columns a copy costs as much as rows do
        return Product(total, table)

    def form(self, one: Matrix, other: Matrix) -> float:
        """Compute Σ z_i C_i z'_i over this rank's rows, for moves z and z' of the margins, shape (n, outputs)."""
        if self.objective.outputs == 1:
            return float(self.c @ (one * other)[:, 0])
        means = (self.q * one).sum(axis=1) * (self.q * other).sum(axis=1)
        return float(self.c @ ((self.q * one * other).sum(axis=1) - means))

    def diagonal(self) -> Model:
        """Compute this rank's share of the diagonal of the Hessian, shape (outputs, width)."""
        shard = self.objective.shard
        return np.stack([passes.column_squares(shard.rows, c) for c in self.output_curvatures()]) / shard.total

    def output_curvatures(self) -> Matrix:
        """Return the diagonal of each row's C_i, shape (outputs, n)."""
        return self.c[None] if self.objective.outputs == 1 else (self.c[:, None] * self.q * self.rest).T
