"""What each row adds: its weight as it was given, its scores, its leverage, and the sums of them over all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective import passes
from mpiopt.objective.curvature import curvature, used_columns
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

BLOCK = 1 << 20  # float64 numbers of a block of rows: 8 MiB


class Block(NamedTuple):
    """A range of this rank's rows."""

    rows: slice
    x: Matrix  # (n, used)


@dataclass(frozen=True, eq=False)
class WeightedRows:
    """The rows of this rank at a model; sums are over all ranks, in the columns of training, output by output.

    Parameters
    ----------
    objective : Objective
        This rank's share, without a penalty.
    w : ndarray, shape (outputs, width)
        The model.
    frequency : bool
        Whether a row of weight 2 stands for two rows; else for one row of half the variance.
    channel : Channel
        The ranks.
    """

    objective: Objective
    w: Matrix
    frequency: bool
    channel: Channel

    @property
    def used(self) -> int:
        """Number of columns: features and intercept."""
        return used_columns(self.objective)

    @cached_property
    def weight(self) -> Vector:
        """Weights as they were given, (n,)."""
        return self.objective.shard.weight * self.objective.shard.weight_unit

    @cached_property
    def margins(self) -> Matrix:
        """Margins (n, outputs)."""
        return self.objective.predict(self.w)

    @cached_property
    def slopes(self) -> Matrix:
        """Derivatives of each row's loss by its margins, without its weight, (n, outputs)."""
        return self.objective.loss.slope(self.margins, self.objective.shard.label)

    def observations(self) -> float:
        """Return the number of observations: the sum of frequencies, or the rows with a weight; collective."""
        counted = self.weight if self.frequency else self.weight > 0.0
        return self.total(counted)

    def total(self, each: NDArray[np.generic]) -> float:
        """Return the sum of a number of each row; collective."""
        return float(self.channel.sum(float(np.sum(each)))[0])

    def hessian(self, expected: bool) -> Matrix:
        """Return Σ t_i ∇²loss_i, (outputs · used, outputs · used), t_i the weight; collective.

        `expected` takes the curvature that is expected of labels with the model's means. Softmax has no other.
        """
        objective, d = self.objective, self.used
        unit = objective.shard.weight_unit * objective.shard.total
        if not expected or objective.outputs > 1:
            return curvature(objective, self.w, self.channel) * unit
        c = objective.shard.weight * objective.loss.expected_curvature(self.margins, objective.shard.label)
        share = objective.weighted_gram(c)[:d, :d]
        return np.asarray(self.channel.sum(share).reshape(share.shape) * unit)

    def gradient(self) -> Vector:
        """Return Σ t_i ∇loss_i, (outputs · used,); collective."""
        share = passes.weighted_row_sum(self.objective.shard.rows, self.slopes * self.weight[:, None])
        return self.channel.sum(share[:, : self.used].ravel())

    def leverages(self, inverse: Matrix) -> Vector:
        """Return h_i = loss_i'' x_iᵀ M⁻¹ x_i for one row with its weight in the fit, (n,); local, one output."""
        bend = self.objective.loss.curvature(self.margins, self.objective.shard.label)
        form = np.empty(len(bend))
        for block in self.blocks():
            form[block.rows] = ((block.x @ inverse) * block.x).sum(axis=1)
        return bend * form * (1.0 if self.frequency else self.weight)

    def score_squares(self, factor: Vector | None = None) -> Matrix:
        """Return Σ factor_i g_i g_iᵀ of the rows' gradients g_i, (outputs · used, outputs · used); collective.

        A row that stands for t rows counts t times; else its gradient is t times as long.
        """
        share = np.zeros((self.objective.outputs * self.used,) * 2)
        root = np.sqrt(self.weight) if self.frequency else self.weight
        root = root if factor is None else root * np.sqrt(factor)
        for block in self.blocks():
            g = outer_rows(self.slopes[block.rows] * root[block.rows, None], block.x)
            share += g.T @ g
        return self.channel.sum(share).reshape(share.shape)

    def blocks(self) -> Iterator[Block]:
        """Yield this rank's rows, dense, a few at a time."""
        shard, d = self.objective.shard, self.used
        length = max(1, BLOCK // (self.objective.outputs * max(d, 1)))
        for begin in range(0, len(shard), length):
            part = slice(begin, min(begin + length, len(shard)))
            yield Block(part, passes.dense_block(shard.rows, part, d))


def outer_rows(slopes: Matrix, x: Matrix) -> Matrix:
    """Return the gradient of each row, (n, outputs · d), from its slopes (n, outputs) and its columns (n, d)."""
    return (slopes[:, :, None] * x[:, None, :]).reshape(len(x), -1)
