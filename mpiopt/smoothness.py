"""How fast the gradients of the ranks' shares can change: the step sizes of first-order baselines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mpiopt.channel import Channel
from mpiopt.objective import Objective

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
