"""The whole Hessian of the smooth part, and how fast the gradients of the ranks' shares can change."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective import passes
from mpiopt.objective.losses.base import class_complements, class_probabilities
from mpiopt.objective.objective import Objective

Matrix = NDArray[np.float64]

LARGEST_BLOCK = 1 << 21  # float64 numbers in the largest temporary matrix of `across_classes`: 16 MiB
POWER_ITERATIONS = 20  # passes over a rank's rows for its largest eigenvalue
LEAST_CURVATURE = 0.01  # of its bound: Huber's loss has none far from its target
EIGENVALUE_MARGIN = 1.05  # factor on the result: a power iteration approaches the eigenvalue from below


def used_columns(objective: Objective) -> int:
    """Return the number of columns in use: the features and the intercept; the rest is padding."""
    return objective.shard.features + int(objective.shard.intercept)


def curvature(objective: Objective, w: Matrix, channel: Channel, majorise: float = 0.0) -> Matrix:
    """Compute the Hessian of loss and ridge over all rows.

    Collective: one pass over the rows of each rank and one exchange.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective.
    w : ndarray, shape (outputs, width)
        The model, the same on all ranks.
    channel : Channel
        The ranks.
    majorise : float
        Rows have at least this part of the curvature of a parabola above their loss (`Loss.majorant`; one output).

    Returns
    -------
    ndarray, shape (outputs · used, outputs · used)
        The Hessian in the columns in use, output by output; the same bits on all ranks.
    """
    d = used_columns(objective)
    if objective.outputs > 1:
        share = across_classes(objective, w)
    elif majorise:
        share = objective.weighted_gram(objective.row_majorants(w, majorise))[:d, :d]
    else:
        share = objective.curvature(w)[:d, :d]
    total = channel.sum(share).reshape(share.shape)
    total[np.diag_indices_from(total)] += np.tile(objective.ridge[:d], objective.outputs)
    return total


def across_classes(objective: Objective, w: Matrix) -> Matrix:
    """Compute this rank's share of (1/N) Σ s_i (diag(p_i) - p_i p_iᵀ) ⊗ x_i x_iᵀ, p_i the class probabilities.

    A block of one class has p (1 - p) from the other probabilities: what p - p² loses is more than a weak ridge.
    """
    if objective.loss.name != "softmax":
        raise ValueError(
            f"newton takes losses with one output, or softmax, not {objective.loss.name}; try --algorithm saga"
        )
    d, classes, shard = used_columns(objective), objective.outputs, objective.shard
    slopes = objective.loss.slope(objective.predict(w), shard.label)
    p, rest = class_probabilities(slopes, shard.label), class_complements(slopes, shard.label)
    share = np.zeros((classes, d, classes, d))
    length = max(1, LARGEST_BLOCK // (classes * d))
    for begin in range(0, len(shard), length):
        block = slice(begin, min(begin + length, len(shard)))
        x, s, q = passes.dense_block(shard.rows, block, d), shard.weight[block] / shard.total, p[block]
        scaled = (np.sqrt(s)[:, None] * q)[:, :, None] * x[:, None, :]
        scaled = scaled.reshape(len(x), classes * d)
        squares = (scaled.T @ scaled).reshape(share.shape)
        for c in range(classes):
            squares[c, :, c, :] = -((x * (s * q[:, c] * rest[block, c])[:, None]).T @ x)
        share -= squares
    return share.reshape(classes * d, classes * d)


def refuse_infinite(h: Matrix) -> None:
    """Refuse a Hessian with an entry that is not finite: no damping makes it possible to factor it.

    Raises
    ------
    ValueError
        If there is one; on all ranks, since `h` is a sum over the ranks.
    """
    if not np.isfinite(h).all():
        raise ValueError("the curvature is not finite: columns or margins are too large; try --scale maxabs")


class Smoothness(NamedTuple):
    """Lipschitz constants of the gradients of loss parts.

    F = Σ F_k with F_k the share of rank k; the functions of K clients in the literature are K F_k.
    """

    mean: float  # an upper bound on L of F's loss part: Σ L(F_k)
    largest: float  # K max L(F_k)
    square: float  # √(K Σ L(F_k)²)


def smoothness(objective: Objective, channel: Channel) -> Smoothness:
    """Estimate the constants by power iterations on each rank's rows; collective, 20 local passes, two exchanges."""
    own = local_smoothness(objective)
    total, squares = (float(v) for v in channel.sum(own, own * own))
    largest = float(channel.max(own)[0])
    return Smoothness(total, channel.size * largest, float(np.sqrt(channel.size * squares)))


def local_smoothness(objective: Objective) -> float:
    """Estimate the largest eigenvalue of (1/N) Σ s_i bound x_i x_iᵀ over this rank's rows, by power iterations."""
    c = np.asarray((objective.loss.curvature_bound or 0.0) * objective.shard.weight)
    v = np.random.default_rng(0).standard_normal((1, objective.width))
    value = 0.0
    for _ in range(POWER_ITERATIONS):
        v = objective.hessian_vector(c, v)
        value = float(np.linalg.norm(v))
        if value == 0.0:
            return 0.0
        v /= value
    return EIGENVALUE_MARGIN * value


def column_curvatures(objective: Objective, w: Matrix) -> NDArray[np.float64]:
    """Return this rank's share of (1/N) Σ s_i c_i x_ij², c_i the mean curvature, or a small part of its bound."""
    shard, loss = objective.shard, objective.loss
    c = loss.mean_curvature(objective.predict(w), shard.label)
    c = np.maximum(c, LEAST_CURVATURE * (loss.curvature_bound or 0.0))
    return passes.column_squares(shard.rows, shard.weight * c) / shard.total
