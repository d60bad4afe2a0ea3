"""Estimate a rank's gradient from a few of its rows, with or without SAGA's table of slopes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.core import rng
from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.objective import passes
from mpiopt.objective.objective import Model, Objective

RowNumbers = NDArray[np.int64]  # (b,) numbers of rows of one rank


def draw_rows(stream: int, k: int, objective: Objective, batch: int, channel: Channel) -> RowNumbers:
    """Draw `batch` rows of this rank with replacement for round k; none if the rank has no rows."""
    n = len(objective.shard)
    generator = rng.generator(channel.seed, stream, k, channel.rank)
    return generator.integers(0, n, batch) if n else np.empty(0, np.int64)


def minibatch_gradient(objective: Objective, w: Model, at: RowNumbers) -> Model:
    """Estimate this rank's (1/N) Σ s_i ∇loss_i(w) from the rows `at`; unbiased if they are drawn uniformly."""
    shard = objective.shard
    if len(at) == 0:
        return np.zeros_like(w)
    rows, no_table = take_rows(shard.rows, at), np.empty((0, objective.outputs))
    _, gradient = passes.value_and_gradient(rows, shard.label[at], shard.weight[at], objective.loss, w, no_table)
    return np.asarray(gradient * (len(shard) / (len(at) * shard.total)))


def saga_gradient(objective: Objective, w: Model, at: RowNumbers, table: Model, average: Model) -> Model:
    """Estimate this rank's gradient as SAGA does and update its table.

    The estimate is (n/(b N)) Σ (s_i loss_i' − table_i) x_i + average over the rows `at`. It is exact at the optimum
    once the table is.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective.
    w : ndarray, shape (outputs, width)
        The model.
    at : ndarray of int64, shape (b,)
        Different row numbers.
    table : ndarray, shape (n, outputs)
        The last slope of each row; updated in place.
    average : ndarray, shape (outputs, width)
        (1/N) Σ table_i x_i; updated in place.

    Returns
    -------
    ndarray, shape (outputs, width)
        The estimate.
    """
    shard = objective.shard
    before = average.copy()
    if len(at) == 0:
        return before
    rows = take_rows(shard.rows, at)
    new = objective.loss.slope(passes.margins(rows, w), shard.label[at]) * shard.weight[at][:, None]
    change = passes.weighted_row_sum(rows, np.ascontiguousarray(new - table[at])) / shard.total
    table[at] = new
    average += change
    return np.asarray(before + change * (len(shard) / len(at)))


def take_rows(rows: Rows, at: RowNumbers) -> Rows:
    """Copy the rows with these numbers."""
    if isinstance(rows, DenseRows):
        return DenseRows(rows.values[at])
    lengths = rows.indptr[at + 1] - rows.indptr[at]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    stored = np.repeat(rows.indptr[at] - indptr[:-1], lengths) + np.arange(indptr[-1])
    return CsrRows(indptr, rows.indices[stored], rows.values[stored], rows.width)
