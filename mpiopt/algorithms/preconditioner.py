"""The metric of preconditioned dSAGA: the curvature of the whole objective, and each rank's part in it.

At a model w_P let S_k = (1/n_k) Σ_{S_k} s_i loss_i'' x_i x_iᵀ be the curvature of rank k's mean, S = Σ (n_k/N) S_k
that of the whole, R the ridge. All ranks step in the metric P = S + R. While rank k works alone, the
gradient of the others would be stale; with P and its own S_k it knows how that gradient changes to first order,
(S − θ S_k)(w − w̄), whatever the shards look like. DESIGN.md, "Why it stalls, and the cure", has the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.compress.symmetric_sum import curvature_sum, symmetric_sum
from mpiopt.compress.whitening import Whitened
from mpiopt.objective.curvature import across_classes, refuse_infinite, used_columns
from mpiopt.objective.objective import Objective

Matrix = NDArray[np.float64]
Model = NDArray[np.float64]

LARGEST_COUPLED = 2600  # outputs · columns of a metric for all outputs together


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """What one rank needs to step in the common metric."""

    inverse: Matrix  # (m, m) P⁻¹, the same on all ranks, zero at padding; m = width or outputs · width
    others: Matrix  # (m, m) S − θ S_k, the curvature that this rank models
    share: float  # θ, the weight of this rank's own mean in its model of the whole
    coordinates: Whitened | None  # where differences are compressed; None where nothing is

    def decrement(self, gradient: Model) -> float:
        """Give gᵀP⁻¹g, twice what a Newton step would gain."""
        g = gradient.reshape(-1, len(self.inverse))
        return float((g * (g @ self.inverse)).sum())


def build(objective: Objective, w: Model, channel: Channel, largest_share: float, damping: float) -> Preconditioner:
    """Make the metric at `w`: one pass over the rows and one exchange of size² numbers; collective.

    θ = min(largest_share, 0.9/λ_max(P⁻¹ S_k)), so that S − θ S_k + R stays positive definite: a rank whose rows bend
    the objective more than the whole does takes its own mean with less weight. With damping > 0 the curvature of a
    row is at least that part of its bound (of the largest mean curvature, where there is no bound): where the
    loss bends more a little further on, as Huber's does, the metric must know.
    """
    columns = used_columns(objective)
    own, whole, root = _curvature(objective, w, channel, damping)
    inverse = np.asarray(root.inverse.T @ root.inverse)
    own *= objective.shard.total / max(1, len(objective.shard))
    share = min(largest_share, 0.9 / max(0.9, largest_ratio(inverse, own)))
    own *= -share
    own += whole
    inverse, own = (_padded(m, columns, objective.width) for m in (inverse, own))
    whitened = Whitened(root.lower, root.inverse, columns, objective.width) if channel.compresses else None
    return Preconditioner(inverse, own, share, whitened)


def inverse_curvature(objective: Objective, w: Model, channel: Channel) -> Matrix:
    """Give P⁻¹ as a stack (blocks, size, size): one block for all outputs together, or one each; collective.

    Apart from each other the outputs have the curvature s_i p_c (1 − p_c) x_i x_iᵀ, the blocks on the diagonal.
    """
    if objective.outputs == 1 or coupled(objective):
        root = _curvature(objective, w, channel, 0.0)[2].inverse
        return _padded(root.T @ root, used_columns(objective), objective.width)[None]
    p = objective.loss.slope(objective.predict(w), objective.shard.label)
    p[np.arange(len(p)), objective.shard.label.astype(np.int64)] += 1.0
    columns, blocks = used_columns(objective), []
    for q in p.T:
        own = objective.weighted_gram(objective.shard.weight * q * (1.0 - q))[:columns, :columns]
        whole = symmetric_sum(own, channel)
        inverse = root_of(whole + np.diag(objective.ridge[:columns])).inverse
        blocks.append(_padded(inverse.T @ inverse, columns, objective.width))
    return np.stack(blocks)


def _curvature(objective: Objective, w: Model, channel: Channel, damping: float) -> tuple[Matrix, Matrix, Root]:
    """Give this rank's share of S, S, and the root of P, without padding."""
    across, columns = coupled(objective), used_columns(objective)
    own = across_classes(objective, w) if across else _shared(objective, w, channel, damping)
    ridge = np.diag(np.tile(objective.ridge[:columns], len(own) // columns))
    whole = curvature_sum(own, ridge, channel)
    common = _common_part(whole, columns) if across else 0.0
    return own, whole, root_of(whole + ridge + common)


def _common_part(whole: Matrix, columns: int) -> Matrix:
    """Give (1 1ᵀ/C) ⊗ (the mean diagonal block): curvature for the direction that softmax ignores.

    All classes moved alike change no probability; without this, rounding would wander off that way.
    """
    classes = len(whole) // columns
    mean = sum(whole[i : i + columns, i : i + columns] for i in range(0, len(whole), columns)) / classes
    return np.kron(np.full((classes, classes), 1.0 / classes), mean)


def coupled(objective: Objective) -> bool:
    """Say whether the metric is one for all outputs together; else the outputs share one of width²."""
    return objective.outputs > 1 and objective.outputs * used_columns(objective) <= LARGEST_COUPLED


def _shared(objective: Objective, w: Model, channel: Channel, damping: float) -> Matrix:
    columns = used_columns(objective)
    c = _curvatures(objective, w, channel, damping)
    return objective.weighted_gram(c)[:columns, :columns].copy()


def _padded(matrix: Matrix, columns: int, width: int) -> Matrix:
    """Spread a matrix over blocks of `columns` columns to blocks of `width`, with zeros."""
    blocks = len(matrix) // columns
    out = np.zeros((blocks, width, blocks, width))
    out[:, :columns, :, :columns] = matrix.reshape(blocks, columns, blocks, columns)
    return out.reshape(blocks * width, blocks * width)


def _curvatures(objective: Objective, w: Model, channel: Channel, damping: float) -> NDArray[np.float64]:
    c = objective.shard.weight * objective.loss.mean_curvature(objective.predict(w), objective.shard.label)
    if damping == 0.0:
        return c
    bound = objective.loss.curvature_bound
    if bound is None:
        bound = float(channel.max(c.max(initial=0.0))[0])
    return np.maximum(c, damping * bound * objective.shard.weight)


class Root(NamedTuple):
    """P = L Lᵀ, nearly; both factors are zero where a column has no curvature."""

    lower: Matrix  # L
    inverse: Matrix  # L⁻¹


def root_of(p: Matrix) -> Root:
    """Factor P + ε diag P with the smallest ε = 1e-14, 1e-12 … that allows it.

    Working on P scaled to a unit diagonal makes the result independent of the units of the columns; a column
    without any curvature gets zeros, so that it never moves. Raises ValueError where P is not finite.
    """
    refuse_infinite(p)
    size = np.sqrt(np.maximum(p.diagonal(), 0.0))
    scale = np.zeros_like(size)
    np.divide(1.0, size, out=scale, where=size > 0.0)
    unit = p * scale * scale[:, None]
    unit[np.diag_indices_from(unit)] = 1.0
    damping = 1e-14
    while True:
        try:
            lower = np.linalg.cholesky(unit + damping * np.eye(len(unit)))
            return Root(np.asarray(lower * size[:, None]), np.asarray(np.linalg.inv(lower) * scale))
        except np.linalg.LinAlgError:
            damping *= 100.0


def largest_ratio(inverse: Matrix, own: Matrix) -> float:
    """Estimate λ_max(P⁻¹ S_k) by 30 power iterations; from below, by at most some per cent in practice."""
    v = np.random.default_rng(0).standard_normal(len(own))
    ratio = 0.0
    for _ in range(30):
        v = inverse @ (own @ v)
        ratio = float(np.linalg.norm(v))
        if ratio == 0.0 or not np.isfinite(ratio):
            break
        v /= ratio
    return ratio
