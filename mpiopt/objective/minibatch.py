"""Gradients of a few rows of a rank: plain ones, and those that SAGA's table makes exact at the optimum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.core import rng as randomness
from mpiopt.data.shard import CsrRows, DenseRows
from mpiopt.objective import passes
from mpiopt.objective.objective import Model, Objective

Places = NDArray[np.int64]  # (b,) rows of a rank


def drawn(stream: int, k: int, objective: Objective, batch: int, channel: Channel) -> Places:
    """Draw rows of this rank with replacement, for round k; none where it has none."""
    n = len(objective.shard)
    rng = randomness.generator(channel.seed, stream, k, channel.rank)
    return rng.integers(0, n, batch) if n else np.empty(0, np.int64)


def share(objective: Objective, w: Model, at: Places) -> Model:
    """Estimate the rank's (1/N) Σ s_i ∇loss_i(w) from the rows `at`: without bias, where each is drawn uniformly."""
    shard = objective.shard
    if len(at) == 0:
        return np.zeros_like(w)
    some, nothing = taken(shard.rows, at), np.empty((0, objective.outputs))
    _, gradient = passes.fused(some, shard.label[at], shard.weight[at], objective.loss, w, nothing)
    return np.asarray(gradient * (len(shard) / (len(at) * shard.total)))


def saga_share(objective: Objective, w: Model, at: Places, table: Model, average: Model) -> Model:
    """Do as `share` with a table of what each row's slope was: (n/(b N)) Σ (s_i loss_i' − table_i) x_i + average.

    `at`: different rows. `table` (n, outputs) and `average`, (1/N) Σ table_i x_i, are brought up to date in place.
    """
    shard = objective.shard
    before = average.copy()
    if len(at) == 0:
        return before
    some = taken(shard.rows, at)
    new = objective.loss.slope(passes.margins(some, w), shard.label[at]) * shard.weight[at][:, None]
    change = passes.combined(some, np.ascontiguousarray(new - table[at])) / shard.total
    table[at] = new
    average += change
    return np.asarray(before + change * (len(shard) / len(at)))


def taken(x: DenseRows | CsrRows, at: Places) -> DenseRows | CsrRows:
    """Give some rows, copied."""
    if isinstance(x, DenseRows):
        return DenseRows(x.values[at])
    lengths = x.indptr[at + 1] - x.indptr[at]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.repeat(x.indptr[at] - indptr[:-1], lengths) + np.arange(indptr[-1])
    return CsrRows(indptr, x.indices[places], x.values[places], x.width)
