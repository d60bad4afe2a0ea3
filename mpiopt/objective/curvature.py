"""The whole Hessian of the smooth part, on the columns in use; for softmax across the classes as well.

How fast the gradients of the ranks' shares can change: the step sizes of first-order baselines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.data.shard import CsrRows, Rows
from mpiopt.objective.objective import Objective

Matrix = NDArray[np.float64]
PIECE = 1 << 21  # numbers in the largest temporary matrix


def used(objective: Objective) -> int:
    """Columns in use: the features and the intercept; the rest is padding."""
    return objective.shard.features + int(objective.shard.intercept)


def curvature(objective: Objective, w: Matrix, channel: Channel) -> Matrix:
    """Give the Hessian of loss and ridge over all rows, (outputs · used) squared; collective, one exchange."""
    d = used(objective)
    share = objective.curvature(w)[:d, :d] if objective.outputs == 1 else across_classes(objective, w)
    total = channel.sum(share).reshape(share.shape)
    total[np.diag_indices_from(total)] += np.tile(objective.ridge[:d], objective.outputs)
    return total


def across_classes(objective: Objective, w: Matrix) -> Matrix:
    """Give this rank's share of (1/N) Σ s_i (diag(p_i) - p_i p_iᵀ) ⊗ x_i x_iᵀ, p_i the class probabilities."""
    if objective.loss.name != "softmax":
        raise ValueError(f"newton knows losses with one output and softmax, not {objective.loss.name}")
    d, classes, shard = used(objective), objective.outputs, objective.shard
    margins = objective.predict(w)
    p = np.exp(margins - margins.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    share = np.zeros((classes, d, classes, d))
    piece = max(1, PIECE // (classes * d))
    for begin in range(0, len(shard), piece):
        cut = slice(begin, min(begin + piece, len(shard)))
        x, s, q = dense(shard.rows, cut, d), shard.weight[cut] / shard.total, p[cut]
        for c in range(classes):
            share[c, :, c, :] += (x * (s * q[:, c])[:, None]).T @ x
        crossed = (np.sqrt(s)[:, None] * q)[:, :, None] * x[:, None, :]
        crossed = crossed.reshape(len(x), classes * d)
        share -= (crossed.T @ crossed).reshape(share.shape)
    return share.reshape(classes * d, classes * d)


def dense(rows: Rows, cut: slice, columns: int) -> Matrix:
    """Give some rows as a dense float64 array of the first `columns` columns."""
    if not isinstance(rows, CsrRows):
        return rows.values[cut, :columns].astype(np.float64)
    x = np.zeros((cut.stop - cut.start, columns))
    lengths = np.diff(rows.indptr[cut.start : cut.stop + 1])
    stored = slice(rows.indptr[cut.start], rows.indptr[cut.stop])
    x[np.repeat(np.arange(len(x)), lengths), rows.indices[stored]] = rows.values[stored]
    return x


def refuse_infinite(h: Matrix) -> None:
    """Refuse a curvature with a number beyond float64: no damping would let it be factored.

    Raises
    ------
    ValueError
        If there is one; on all ranks, where `h` is a sum over the ranks.
    """
    if not np.isfinite(h).all():
        raise ValueError("the curvature is not finite: columns or margins are too large; try --scale maxabs")


PASSES = 20  # of the power iteration
MARGIN = 1.05  # for what it has not found


class Smoothness(NamedTuple):
    """Lipschitz constants of loss parts; K F_k with F = Σ F_k, F_k a rank's share, are the functions of K clients."""

    mean: float  # L of F's loss part, at most: Σ L(F_k)
    largest: float  # K max L(F_k)
    square: float  # √(K Σ L(F_k)²)


def measure(objective: Objective, channel: Channel) -> Smoothness:
    """Measure the constants by power iterations on each rank's rows; collective, 20 local passes, two exchanges."""
    own = local(objective)
    total, squares = (float(v) for v in channel.sum(own, own * own))
    largest = float(channel.max(own)[0])
    return Smoothness(total, channel.size * largest, float(np.sqrt(channel.size * squares)))


def local(objective: Objective) -> float:
    """Give the largest eigenvalue of (1/N) Σ c_i x_i x_iᵀ over this rank's rows, c_i the bound of the curvature."""
    c = np.asarray((objective.loss.curvature_bound or 0.0) * objective.shard.weight)
    v = np.random.default_rng(0).standard_normal((1, objective.width))
    value = 0.0
    for _ in range(PASSES):
        v = objective.hessian_vector(c, v)
        value = float(np.linalg.norm(v))
        if value == 0.0:
            return 0.0
        v /= value
    return MARGIN * value
