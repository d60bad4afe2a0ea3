"""How far from 0 an optimal intercept can lie: what a certificate needs where nothing is paid for a large one.

At the optimum F* <= F(w) for any w at hand, so that ‖w*‖ <= sqrt(2 (F(w) − floor)/l2), or ‖w*‖₁ <= (F(w) − floor)/l1,
with floor a lower bound of the loss part. Then the margins without the intercept are bounded by the rows' norms, and
an intercept further out than the loss allows would cost more than F(w) on the rows of the rarest class, or on all
rows (`Loss.intercept_reach`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.channel import Channel
from mpiopt.objective import Objective

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """What bounds on the intercept need of labels and rows; equal on all ranks."""

    floor: float  # (1/N) Σ s_i min_z loss(z, y_i)
    largest: float  # max |y_i|
    mean: float  # (1/N) Σ s_i y_i
    rarest: float  # the smallest share of the weight that one class has; 0 where a class is absent
    row: float  # max ‖x_i‖ without the intercept's column
    mean_row: float  # ‖(1/N) Σ s_i x_i‖; 0 without an intercept


def measure(objective: Objective, channel: Channel) -> Labels:
    """Measure labels and rows; one pass, two exchanges."""
    shard, features = objective.shard, objective.shard.features
    s, y = shard.weight / shard.total, shard.label
    ones = np.zeros(objective.width)
    ones[:features] = 1.0
    row = float(np.sqrt(objective.row_norms(ones).max(initial=0.0)))
    largest, row = (float(v) for v in channel.max(np.array([np.abs(y).max(initial=0.0), row])))
    shares = _shares(objective, s)
    sums = channel.sum(
        float((s * objective.loss.lowest(y)).sum()), float((s * y).sum()), shares, _row_sum(objective, s)
    )
    floor, mean = sums[:2]
    rarest = float(sums[2 : 2 + len(shares)].min(initial=np.inf))
    mean_row = float(np.linalg.norm(sums[2 + len(shares) :][:features]))
    return Labels(float(floor), largest, float(mean), rarest, row, mean_row)


def _row_sum(objective: Objective, s: Vector) -> Vector:
    """Give this rank's share of (1/N) Σ s_i x_i; nothing where there is no intercept that would need it."""
    return objective.row_sum(s) if objective.shard.intercept else np.empty(0)


def _shares(objective: Objective, s: Vector) -> Vector:
    """Give this rank's share of the weight of each class; nothing where the labels are no classes."""
    y = objective.shard.label
    if objective.loss.target == "binary":
        return np.array([s[y < 0].sum(), s[y > 0].sum()])
    if objective.loss.target == "multiclass":
        return np.bincount(y.astype(np.int64), s, objective.outputs).astype(np.float64)
    return np.empty(0)
