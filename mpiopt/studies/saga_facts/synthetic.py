"""Synthetic data: logistic labels on correlated rows of norm 1, with the exact optimum by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.data.row_formats import aligned_zeros, padded_width
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

Vector = NDArray[np.float64]
STEEPNESS = 4.0  # slope of the logistic curve that draws the labels
NEWTON_STEPS = 60
NO_GRADIENT = 1e-13  # norm of a gradient that counts as 0


@dataclass(frozen=True, eq=False)
class SyntheticProblem:
    """N rows, and F(w) = (1/N) Σ log(1 + exp(−y_i w·x_i)) + (l2/2)‖w‖²."""

    x: NDArray[np.float64]  # (N, d) rows of norm 1
    y: Vector  # (N,) -1/+1
    l2: float
    order: dict[str, NDArray[np.int64]]  # by name of the shards: (N,) the sequence of rows
    start: float  # F(0)
    best: float  # F*

    @property
    def smoothness(self) -> float:
        """L = max ‖x_i‖²/4 + l2, of a single term."""
        return 0.25 + self.l2

    def gap(self, value: float) -> float:
        """Return (F − F*)/(F(0) − F*)."""
        return (value - self.best) / (self.start - self.best)

    def objective(self, shards: str, comm: Comm) -> Objective:
        """Return the objective of one rank, which has its block of the sequence."""
        total, d = self.x.shape
        begin, end = block(total, comm.size, comm.rank)
        mine = self.order[shards][begin:end]
        rows = aligned_zeros(len(mine), padded_width(d), np.float64)
        rows[:, :d] = self.x[mine]
        ones, place = np.ones(len(mine)), np.arange(len(mine))
        shard = Shard(DenseRows(rows), self.y[mine], ones, place, begin, total, d)
        return Objective(Loss.make("logistic"), Penalty.make("ridge", {"l2": self.l2}), shard)


def make(rows: int, features: int, ridge: float, seed: int) -> SyntheticProblem:
    """Make the data with l2 = ridge/rows; the sorted order is by label, then by the first column."""
    rng = np.random.default_rng(seed)
    mix = np.eye(features) + 0.3 * rng.standard_normal((features, features)) / np.sqrt(features)
    x = rng.standard_normal((rows, features)) / np.sqrt(np.arange(1, features + 1)) @ mix
    truth = 2.0 * rng.standard_normal(features)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.where(rng.random(rows) < 1.0 / (1.0 + np.exp(-STEEPNESS * (x @ truth))), 1.0, -1.0)
    order = {"shuffled": rng.permutation(rows), "sorted-by-label": np.lexsort((x[:, 0], y))}
    l2 = ridge / rows
    return SyntheticProblem(x, y, l2, order, float(np.log(2.0)), optimum(x, y, l2))


def optimum(x: NDArray[np.float64], y: Vector, l2: float) -> float:
    """Return F* by Newton's method from 0; on such data it needs no damping.

    Raises
    ------
    ValueError
        If the gradient has not vanished after NEWTON_STEPS steps.
    """
    w = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        wrong = 1.0 / (1.0 + np.exp(y * (x @ w)))
        gradient = -(x.T @ (y * wrong)) / len(y) + l2 * w
        if np.linalg.norm(gradient) < NO_GRADIENT:
            return float(np.logaddexp(0.0, -y * (x @ w)).mean() + 0.5 * l2 * w @ w)
        w -= np.linalg.solve((x.T * (wrong * (1.0 - wrong))) @ x / len(y) + l2 * np.eye(len(w)), gradient)
    raise ValueError("Newton's method found no optimum of the synthetic data; use another seed")
