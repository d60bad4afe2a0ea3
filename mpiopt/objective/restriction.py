"""The objective as a function of the weights in a few columns, with the margins at hand; the other weights are held.

A value on the line between two points then costs one number for each row, and a gradient the columns of the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.compress.symmetric_sum import curvature_sum, symmetric_sum
from mpiopt.data.shard import CsrRows, Rows
from mpiopt.objective import passes
from mpiopt.objective.column_groups import ColumnGroups
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.losses.base import class_complements, class_probabilities
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Model = NDArray[np.float64]
Matrix = NDArray[np.float64]

LARGEST_BLOCK = 1 << 21  # float64 numbers in a temporary matrix of `_across_classes`: 16 MiB
SEARCH = 0.5  # passes over the indices of CSR rows that it costs to find the chosen columns


class Point(NamedTuple):
    """A model in the columns of the set, with the exact objective there."""

    w: Model  # (outputs, m)
    margins: Matrix  # (n, outputs) of this rank's rows
    value: float  # F
    gradient: Model  # (outputs, m) of the loss part


@dataclass(frozen=True, eq=False)
class Restriction:
    """The objective in m columns.

    Each rank stores these columns once more: 8 n m bytes for dense float64 rows, 12 for each number of CSR rows.

    Attributes
    ----------
    objective
        All columns.
    channel
        The ranks.
    columns
        The m columns, ascending.
    chosen
        Which of their weights may change, shape (outputs, m).
    rows
        The m columns of this rank's rows.
    held
        Penalty of the weights outside the columns.
    """

    objective: Objective
    channel: Channel
    columns: NDArray[np.int64]
    chosen: NDArray[np.bool_]
    rows: Rows
    held: float

    @property
    def threshold(self) -> Vector:
        """l1 of each column, shape (m,)."""
        return np.asarray(self.objective.threshold[self.columns])

    @property
    def ridge(self) -> Vector:
        """l2 of each column, shape (m,)."""
        return np.asarray(self.objective.ridge[self.columns])

    @cached_property
    def groups(self) -> ColumnGroups | None:
        """The groups of the columns."""
        groups = self.objective.groups
        return None if groups is None else groups.of_columns(self.columns)

    @property
    def covers_all(self) -> bool:
        """Whether every column in use is among the m."""
        return self.rows is self.objective.shard.rows

    @property
    def stored(self) -> int:
        """Numbers that this rank stores in the columns."""
        return int(self.rows.values.size)

    def smooth_gradient(self, point: Point) -> Model:
        """Compute the gradient of loss and ridge, shape (outputs, m)."""
        return np.asarray(point.gradient + self.ridge * point.w)

    def start(self, w: Model, value: float, gradient: Model) -> Point:
        """Return the point of a whole model, whose value and gradient are known; local."""
        inside = np.ascontiguousarray(w[:, self.columns])
        outside = np.count_nonzero(w) > np.count_nonzero(inside)
        margins = self.objective.predict(w) if outside else passes.margins(self.rows, inside)
        return Point(inside, margins, value, np.ascontiguousarray(gradient[:, self.columns]))

    def evaluate(self, w: Model, margins: Matrix) -> Point:
        """Evaluate at a point; collective, one exchange of 1 + outputs · m numbers."""
        shard, loss = self.objective.shard, self.objective.loss
        slopes = shard.weight[:, None] * loss.slope(margins, shard.label)
        share = passes.weighted_row_sum(self.rows, slopes) / shard.total
        total = self.channel.sum(self._loss(margins), share)
        return Point(w, margins, float(total[0]) + self._penalty(w), total[1:].reshape(w.shape))

    def values(self, point: Point, p: Model, change: Matrix, lengths: Vector) -> Vector:
        """Compute F at the points w + t p, whose margins are z + t · change; collective, one number for each t."""
        total = self.channel.sum(*(self._loss(point.margins + t * change) for t in lengths))
        return np.asarray(total + [self._penalty(point.w + t * p) for t in lengths])

    def _loss(self, margins: Matrix) -> float:
        """Compute this rank's share of the loss."""
        shard = self.objective.shard
        return float(shard.weight @ self.objective.loss.value(margins, shard.label)) / shard.total

    def _penalty(self, w: Model) -> float:
        """Compute the penalty of the whole model."""
        if self.groups is not None:
            l1 = self.objective.penalty.strengths[0]
            return self.held + l1 * self.groups.value(w) + 0.5 * float((self.ridge * w * w).sum())
        return self.held + float((self.threshold * np.abs(w)).sum() + 0.5 * (self.ridge * w * w).sum())

    def curvature(self, margins: Matrix, least: float, error: float = 0.0) -> Matrix:
        """Compute the Hessian of loss and ridge in the chosen weights, output by output; collective.

        Parameters
        ----------
        margins
            Where, shape (n, outputs).
        least
            Curvature that a row of weight 1 counts with at least.
        error
            Of the result, relative to it, where the channel compresses; 0: the sum is exact.

        Returns
        -------
        ndarray
            The same bits on all ranks.
        """
        shard, loss = self.objective.shard, self.objective.loss
        if self.objective.outputs > 1 and loss.name == "softmax":
            share = self._across_classes(loss.slope(margins, shard.label), least)
        else:
            c = shard.weight * np.maximum(loss.curvature(margins, shard.label), least)
            share = _blocks(passes.gram(self.rows, c), self.chosen)
        total, ridge = share / shard.total, np.broadcast_to(self.ridge, self.chosen.shape)[self.chosen]
        if self.channel.size > 1 and error:
            total = curvature_sum(total, np.diag(ridge), self.channel, error)
        elif self.channel.size > 1:
            total = symmetric_sum(total, self.channel)
        total[np.diag_indices_from(total)] += ridge
        return total

    def _across_classes(self, slopes: Matrix, least: float) -> Matrix:
        """Compute this rank's share of Σ s_i (diag(p_i) - p_i p_iᵀ + least) ⊗ x_i x_iᵀ, p_i the probabilities."""
        shard = self.objective.shard
        p, rest = class_probabilities(slopes, shard.label), class_complements(slopes, shard.label)
        output, column = np.nonzero(self.chosen)
        share = np.zeros((len(output), len(output)))
        length = max(1, LARGEST_BLOCK // max(1, len(output)))
        for begin in range(0, len(shard), length):
            block = slice(begin, min(begin + length, len(shard)))
            x = passes.dense_block(self.rows, block, len(self.columns))
            s, q = shard.weight[block], p[block]
            scaled = x[:, column] * q[:, output] * np.sqrt(s)[:, None]
            squares = scaled.T @ scaled
            for c in range(len(self.chosen)):
                one = output == c
                part = x[:, column[one]]
                bends = s * (q[:, c] * rest[block, c] + least)
                squares[np.ix_(one, one)] = -((part * bends[:, None]).T @ part)
            share -= squares
        return share


def restrict(objective: Objective, channel: Channel, w: Model, chosen: NDArray[np.bool_]) -> Restriction:
    """Return the objective in the columns of which some weight is chosen, chosen (outputs, width); local."""
    rows, columns = objective.shard.rows, np.flatnonzero(chosen.any(axis=0))
    if len(columns) == used_columns(objective):
        return Restriction(objective, channel, np.arange(rows.width), chosen, rows, 0.0)
    held = w.copy()
    held[:, columns] = 0.0
    inside = passes.chosen_columns(rows, columns)
    return Restriction(objective, channel, columns, chosen[:, columns], inside, objective.penalty_value(held))


def cost_of_columns(objective: Objective, part: Restriction) -> float:
    """Return the passes over this rank's rows that it costs to copy the columns."""
    return (
        SEARCH
        if isinstance(objective.shard.rows, CsrRows)
        else part.stored / max(1, objective.shard.rows.values.size)
    )


def _blocks(gram: Matrix, chosen: NDArray[np.bool_]) -> Matrix:
    """Return the matrix with the Gram matrix of each output's chosen columns on its diagonal."""
    if chosen.all() and len(chosen) == 1:
        return gram
    output, column = np.nonzero(chosen)
    same = output[:, None] == output
    return np.where(same, gram[np.ix_(column, column)], 0.0)
