"""The metric of preconditioned dSAGA: the curvature of the whole objective, and each rank's part in it.

At a model w_P let S_k = (1/n_k) Σ_{S_k} s_i loss_i'' x_i x_iᵀ be the curvature of rank k's mean, S = Σ (n_k/N) S_k that of
the whole, R the ridge. All ranks step in the metric P = S + R. While rank k works alone, the gradient of the others
would be stale; with P and its own S_k it knows how that gradient changes to first order, (S − θ S_k)(w − w̄), whatever
the shards look like. DESIGN.md, "Why it stalls, and the cure", has the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.channel import Channel
from mpiopt.objective import Objective

Matrix = NDArray[np.float64]
Model = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Metric:
    """What one rank needs to step in the common metric."""

    inverse: Matrix  # (width, width) P⁻¹, the same on all ranks; zero at padding
    others: Matrix  # (width, width) S − θ S_k, the curvature that this rank models
    share: float  # θ, the weight of this rank's own mean in its model of the whole


def build(objective: Objective, w: Model, channel: Channel, largest_share: float) -> Metric:
    """Make the metric at `w`: one pass over the rows and one exchange of width² numbers; collective.

    θ = min(largest_share, 0.9/λ_max(P⁻¹ S_k)), so that S − θ S_k + R stays positive definite: a rank whose rows bend
    the objective more than the whole does takes its own mean with less weight.
    """
    width = objective.width
    own = objective.curvature(w)
    whole = channel.sum(own).reshape(width, width)
    rows = max(1, len(objective.shard))
    own *= objective.shard.total / rows
    used = objective.shard.features + objective.shard.intercept
    inverse = np.zeros((width, width))
    inverse[:used, :used] = damped_inverse((whole + np.diag(objective.ridge))[:used, :used])
    share = min(largest_share, 0.9 / max(0.9, largest_ratio(inverse, own)))
    own *= -share
    own += whole
    return Metric(inverse, own, share)


def damped_inverse(p: Matrix) -> Matrix:
    """Give (P + ε diag P)⁻¹ with the smallest ε = 1e-14, 1e-12 … that lets P be factored.

    Working on P scaled to a unit diagonal makes the result independent of the units of the columns; a column
    without any curvature gets a zero row, so that it never moves.
    """
    diagonal = p.diagonal()
    scale = np.zeros_like(diagonal)
    np.divide(1.0, np.sqrt(np.maximum(diagonal, 0.0)), out=scale, where=diagonal > 0.0)
    unit = p * scale * scale[:, None]
    unit[np.diag_indices_from(unit)] = 1.0
    damping = 1e-14
    while True:
        try:
            root = np.linalg.inv(np.linalg.cholesky(unit + damping * np.eye(len(unit))))
            break
        except np.linalg.LinAlgError:
            damping *= 100.0
    root *= scale
    return np.asarray(root.T @ root)


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
