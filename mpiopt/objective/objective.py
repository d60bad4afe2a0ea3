"""The objective F(w) = (1/N) Σ s_i loss_i(W x_i) + l1 ‖w‖₁ + (l2/2) ‖w‖² as one rank sees it: its share of the sums.

Where columns were divided by a scale for the algorithms alone (`Shard.column_scale`), the penalty is that of w/scale:
each column has an l1 and an l2 of its own.

Everything here is local and has no side effects; the sum of the ranks' shares is the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import Rows, Shard
from mpiopt.objective import passes
from mpiopt.objective.bounds import Bounds
from mpiopt.objective.column_groups import ColumnGroups
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.penalties.base import Penalty

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Model = NDArray[np.float64]  # (outputs, width)


@dataclass(frozen=True, eq=False)
class Objective:
    """Loss and penalty on the rows of one rank.

    Methods that return a share divide by N, the number of rows of all ranks. The intercept and the padding columns
    are never penalised.

    Parameters
    ----------
    loss : Loss
        The loss of one row.
    penalty : Penalty
        The penalty on the weights.
    shard : Shard
        The n rows x_i of this rank with labels y_i and weights s_i.
    classes : int
        Number of classes; losses with one output ignore it.
    constants : ndarray, shape (outputs,), optional
        Intercept of the model from which a run starts; 0 by default.
    initial : ndarray, shape (outputs, width), optional
        A model that the caller believes to be near the optimum; a run starts there instead.
    bounds : Bounds, optional
        Of the weights; values of the objective are for weights within them.
    groups : ColumnGroups, optional
        Columns whose weights are 0 together: l1 is then that of the norms of the groups.

    Examples
    --------
    >>> import numpy as np
    >>> from mpiopt.data.shard import DenseRows, Shard
    >>> from mpiopt.objective.losses.base import Loss
    >>> from mpiopt.objective.penalties.base import Penalty
    >>> rows = DenseRows(np.array([[3.0, 0, 0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0, 0]]))
    >>> shard = Shard(rows, np.array([3.0, -1.0]), np.ones(2), np.arange(2), 0, 2, 1)
    >>> objective = Objective(Loss.make("squared"), Penalty.make("none"), shard)
    >>> value, gradient = objective.evaluate(objective.zeros())
    >>> value, float(gradient[0, 0])
    (2.5, -4.0)
    """

    loss: Loss
    penalty: Penalty
    shard: Shard
    classes: int = 2
    constants: Vector | None = None
    initial: Model | None = None
    bounds: Bounds | None = None
    groups: ColumnGroups | None = None

    @property
    def named_penalty(self) -> Penalty:
        """The penalty by the name of what it is with these groups."""
        if self.groups is None:
            return self.penalty
        return Penalty.make("group-lasso", dict(zip(("l1", "l2"), self.penalty.strengths, strict=True)))

    @property
    def outputs(self) -> int:
        """Number of weight vectors of the model: 1, or one for each class."""
        return self.loss.outputs(self.classes)

    @property
    def width(self) -> int:
        """Columns of the model: features, intercept, padding."""
        return self.shard.rows.width

    def zeros(self) -> Model:
        """Return the model 0, shape (outputs, width)."""
        return np.zeros((self.outputs, self.width))

    def origin(self) -> Model:
        """Return the model 0 but for its intercept, shape (outputs, width); bounds may forbid it."""
        w = self.zeros()
        if self.constants is not None:
            w[:, self.shard.features] = self.constants
        return w

    def beginning(self) -> Model:
        """Return the model at which an algorithm begins, shape (outputs, width): `initial`, or else the origin.

        It is within the bounds.
        """
        first = self.origin() if self.initial is None else self.initial.copy()
        return first if self.bounds is None else self.bounds.nearest(first)

    @cached_property
    def rate(self) -> Vector:
        """1/scale of each column, the factor with which the penalty sees its weight: 0 at intercept and padding."""
        column, scale = np.zeros(self.width), self.shard.column_scale
        column[: self.shard.features] = 1.0 if scale is None else 1.0 / scale
        return column

    def with_wider_knee(self, factor: float) -> Objective:
        """Return the objective over factor², of the model w/factor, whose loss has a knee `factor` times as wide.

        l1 is divided by the factor, l2 stays.
        """
        l1, l2 = self.penalty.strengths
        penalty = Penalty.make("elastic-net", {"l1": l1 / factor, "l2": l2})
        return replace(self, shard=replace(self.shard, label=self.shard.label / factor), penalty=penalty)

    @cached_property
    def ridge(self) -> Vector:
        """l2/scale² for each column: 0 at the intercept and the padding; shape (width,)."""
        return np.asarray(self.penalty.strengths[1] * self.rate**2)

    @cached_property
    def threshold(self) -> Vector:
        """l1/scale for each column: 0 at the intercept and the padding; shape (width,)."""
        return self.penalty.strengths[0] * self.rate

    def penalty_value(self, w: Model) -> float:
        """Compute l1 ‖w/scale‖₁ + (l2/2) ‖w/scale‖² without the intercept; with groups l1 times their norms."""
        if self.groups is not None:
            return self.penalty.strengths[0] * self.groups.value(w) + 0.5 * float((self.ridge * w * w).sum())
        with np.errstate(over="ignore", invalid="ignore"):  # of steps that are too long, which are refused later
            return float((self.threshold * np.abs(w)).sum() + 0.5 * (self.ridge * w * w).sum())

    def evaluate(self, w: Model) -> tuple[float, Model]:
        """Compute this rank's share of (1/N) Σ s_i loss_i and of its gradient, in one pass over the rows.

        The pass at the origin is made once and kept.
        """
        if not np.array_equal(w, self.origin()):
            return self._share(w, np.empty((0, self.outputs)))
        value, gradient = self._at_origin
        return value, gradient.copy()

    @cached_property
    def _at_origin(self) -> tuple[float, Model]:
        return self._share(self.origin(), np.empty((0, self.outputs)))

    def refresh(self, w: Model, table: Matrix) -> tuple[float, Model]:
        """Do as `evaluate` and fill SAGA's table: table[i] = s_i loss_i'(W x_i), shape (n, outputs)."""
        return self._share(w, table)

    def _share(self, w: Model, table: Matrix) -> tuple[float, Model]:
        """Compute this rank's share of value and gradient; fill `table` unless it has no rows."""
        shard = self.shard
        if shard.far is not None:
            return self._share_at(self.predict(w), table)
        value, gradient = passes.value_and_gradient(shard.rows, shard.label, shard.weight, self.loss, w, table)
        return value / shard.total, gradient / shard.total

    def _share_at(self, z: Matrix, table: Matrix) -> tuple[float, Model]:
        """Do as `_share` with the margins given."""
        shard, used = self.shard, self.shard.weight > 0.0
        with np.errstate(over="ignore", invalid="ignore"):  # of steps that are too long, which are refused later
            slopes = shard.weight[:, None] * self.loss.slope(z, shard.label)
            value = float(shard.weight[used] @ self.loss.value(z, shard.label)[used]) / shard.total
        if len(table):
            table[:] = slopes
        return value, passes.weighted_row_sum(shard.rows, slopes) / shard.total

    @cached_property
    def distances(self) -> Rows:
        """The rows without the middles of columns that lie far from 0; the rows themselves if there are none."""
        return self.shard.rows if self.shard.far is None else passes.distances(self.shard.rows, self.shard.far)

    def row_curvatures(self, w: Model) -> Vector:
        """Compute s_i loss_i''(W x_i) for each row of this rank (several outputs: its bound), shape (n,)."""
        z = np.zeros((len(self.shard), len(w))) if self.loss.quadratic else self.predict(w)  # any: it is constant
        return self.shard.weight * self.loss.curvature(z, self.shard.label)

    def row_majorants(self, w: Model, part: float = 1.0) -> Vector:
        """Compute s_i times the curvature, at least a part of that of a parabola above the loss (`Loss.majorant`)."""
        z, y = self.predict(w), self.shard.label
        return self.shard.weight * np.maximum(part * self.loss.majorant(z, y), self.loss.curvature(z, y))

    def curvature(self, w: Model) -> Matrix:
        """Compute this rank's share of (1/N) Σ s_i loss_i''(W x_i) x_i x_iᵀ, shape (width, width)."""
        return self.weighted_gram(self.row_curvatures(w))

    def weighted_gram(self, c: Vector) -> Matrix:
        """Compute this rank's share of (1/N) Σ c_i x_i x_iᵀ, shape (width, width), for c_i >= 0."""
        return passes.gram(self.shard.rows, c) / self.shard.total

    def hessian_vector(self, c: Vector, p: Model) -> Model:
        """Compute this rank's share of (1/N) Σ c_i (P x_i) x_iᵀ, shape (outputs, width), for any c_i."""
        return passes.hessian_vector(self.shard.rows, c, p) / self.shard.total

    def row_norms(self, column: Vector | None = None) -> Vector:
        """Compute Σ_j column_j x_ij² for each row of this rank, shape (n,); ‖x_i‖² without `column`."""
        return passes.squared_norms(self.shard.rows, column)

    def row_sum(self, c: Vector) -> Vector:
        """Compute Σ c_i x_i over this rank's rows, shape (width,)."""
        return np.asarray(passes.weighted_row_sum(self.shard.rows, c[:, None])[0])

    def row_smoothness(self) -> Vector:
        """Compute s_i curvature_bound ‖x_i‖² for each row of this rank, shape (n,); inf without a bound."""
        bound = self.loss.curvature_bound
        return self.shard.weight * self.row_norms() * (np.inf if bound is None else bound)

    @cached_property
    def column_counts(self) -> NDArray[np.int64]:
        """Count the rows of this rank in which each column is stored, shape (width,); all of them for dense rows."""
        return passes.column_counts(self.shard.rows)

    def predict(self, w: Model) -> Matrix:
        """Compute the margins W x_i of this rank's rows, shape (n, outputs).

        What columns far from 0 have in common is added up exactly: it may cancel to a small part.
        """
        if self.shard.far is None:
            return passes.margins(self.shard.rows, w)
        return passes.margins(self.distances, w) + passes.exact_products(w, self.shard.far)
