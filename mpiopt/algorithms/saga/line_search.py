"""The smoothness of blocks of rows, found by trying: the line search of SAG, on sampled blocks.

With φ_B = (blocks/n) Σ_{i in B} s_i loss_i, whose mean over the blocks is the rank's mean loss, g = ∇φ_B(w) and D the
scaling of the columns, L is doubled until

    φ_B(w − D g/L) <= φ_B(w) − ‖g‖²_D/(2 L)

for every sampled B (Schmidt, Le Roux, Bach 2017, section 4.6, where B is a row). Before, it is multiplied by
2^(−rows/n) for the rows visited since the last look, so that an epoch of good looks halves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.permutations import Starts
from mpiopt.objective.evaluation import Model
from mpiopt.objective.objective import Objective
from mpiopt.objective.passes import blocks

Vector = NDArray[np.float64]

LOOKS = 16  # in a local epoch
SHARE = 8  # one in so many blocks is tried
SMALLEST = 1e-12  # of φ_B: a promised decrease below this drowns in rounding
LOWEST, HIGHEST = 1e-200, 1e200


def pieces(starts: Starts, epoch: int) -> Iterator[Starts]:
    """Cut the blocks of a round into those between two looks; `epoch` is the number of blocks in a local epoch."""
    size = max(1, epoch // LOOKS)
    return (starts[first : first + size] for first in range(0, len(starts), size))


def sampled(piece: Starts) -> Starts:
    """Give the blocks to try: one in SHARE of a piece, at least one; the piece is in random order."""
    return piece[: max(1, len(piece) // SHARE)]


class Trial:
    """Sampled blocks at a model: does a step 1/L along their gradients do what L promises?"""

    def __init__(self, objective: Objective, w: Model, column: Vector, starts: Starts, batch: int) -> None:
        found, shard = blocks(objective.shard.rows, w, column, starts, batch), objective.shard
        self.loss, self.margins = objective.loss, found.margins
        self.label = shard.label[found.rows]
        self.weight = shard.weight[found.rows] * (found.rows >= 0) * (-(-len(shard) // batch) / len(shard))
        slope = self.loss.slope(*self._flat(self.margins)).reshape(self.margins.shape) * self.weight[..., None]
        self.moved = found.grams @ slope  # what a step of 1 along the gradient takes from the margins
        self.squared = (slope * self.moved).sum(axis=(1, 2))
        self.value = self._value(self.margins)

    def _flat(self, margins: NDArray[np.float64]) -> tuple[NDArray[np.float64], Vector]:
        return margins.reshape(-1, margins.shape[2]), self.label.reshape(-1)

    def _value(self, margins: NDArray[np.float64]) -> Vector:
        return np.asarray(
            (self.weight * self.loss.value(*self._flat(margins)).reshape(self.weight.shape)).sum(axis=1)
        )

    def holds(self, bound: float) -> bool:
        """Say whether every block falls as L = bound promises, as far as that can be told from rounding."""
        promised = self.squared / (2.0 * bound)
        told = promised > SMALLEST * np.abs(self.value)
        with np.errstate(over="ignore", invalid="ignore"):
            falls = self._value(self.margins - self.moved / bound) <= self.value - promised
        return bool((falls | ~told).all())

    def tells(self, bound: float) -> bool:
        """Say whether any block's promised fall is above rounding."""
        return bool((self.squared / (2.0 * bound) > SMALLEST * np.abs(self.value)).any())


def first(trial: Trial) -> float:
    """Give the least power of 2 that holds; 0 where nothing has a gradient."""
    bound = 1.0
    if not trial.squared.any():
        return 0.0
    while bound > LOWEST and trial.holds(bound / 2.0):
        bound /= 2.0
    return grown(trial, bound) if bound > LOWEST else 0.0


def followed(trial: Trial, bound: float, share: float) -> float:
    """Give L after a share of a local epoch: shrunk by it, doubled until it holds; the same where nothing tells."""
    if bound == 0.0:
        return first(trial)
    return grown(trial, bound * 2.0**-share) if trial.tells(bound) else bound


def grown(trial: Trial, bound: float) -> float:
    """Double `bound` until it holds."""
    while bound < HIGHEST and not trial.holds(bound):
        bound *= 2.0
    return bound if math.isfinite(bound) else HIGHEST
