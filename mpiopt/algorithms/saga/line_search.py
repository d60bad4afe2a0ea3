"""The smoothness of blocks of rows by a line search: that of SAG, on sampled blocks.

Let φ_B = (blocks/n) Σ_{i in B} s_i loss_i, whose mean over the blocks is the rank's mean loss, g = ∇φ_B(w), and D the
scaling of the columns. L is doubled until

    φ_B(w − D g/L) <= φ_B(w) − ‖g‖²_D/(2 L)

for every sampled B (Schmidt, Le Roux, Bach 2017, section 4.6, where B is a row). Before each search L is multiplied
by 2^(−rows/n) for the rows visited since the last one, so that an epoch of successful searches halves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.kernels.permutations import Starts
from mpiopt.objective.evaluation import Model
from mpiopt.objective.objective import Objective
from mpiopt.objective.passes import blocks

Vector = NDArray[np.float64]


def between_searches(starts: Starts, epoch: int) -> Iterator[Starts]:
    """Cut the blocks of a round into those between two searches; `epoch` is the number of blocks in a local epoch."""
    size = max(1, epoch // TUNING.searches)
    return (starts[first : first + size] for first in range(0, len(starts), size))


def sampled(starts: Starts) -> Starts:
    """Return the blocks to try, at least one; the blocks stand in random order."""
    return starts[: max(1, len(starts) // TUNING.sampled_share)]


class DescentTest:
    """The inequality of the module on sampled blocks: does a step 1/L reduce their loss as L promises?

    Parameters
    ----------
    objective : Objective
        Rows and loss of this rank.
    w : (outputs, width) array
        Where the step begins.
    column : (width,) array
        Scale D of each column.
    starts : (blocks,) int array
        First row of each sampled block.
    batch : int
        Rows of a block.
    """

    def __init__(self, objective: Objective, w: Model, column: Vector, starts: Starts, batch: int) -> None:
        found, shard = blocks(objective.shard.rows, w, column, starts, batch), objective.shard
        self.loss, self.margins = objective.loss, found.margins
        self.label = shard.label[found.rows]
        self.weight = shard.weight[found.rows] * (found.rows >= 0) * (-(-len(shard) // batch) / len(shard))
        slope = self.loss.slope(*self._flat(self.margins)).reshape(self.margins.shape) * self.weight[..., None]
        self.moved = found.grams @ slope  # change of the margins by a step of 1 along the gradient
        self.squared = (slope * self.moved).sum(axis=(1, 2))
        self.value = self._value(self.margins)

    def _flat(self, margins: NDArray[np.float64]) -> tuple[NDArray[np.float64], Vector]:
        """Return margins and labels with one row for each row of a block."""
        return margins.reshape(-1, margins.shape[2]), self.label.reshape(-1, *self.label.shape[2:])

    def _value(self, margins: NDArray[np.float64]) -> Vector:
        """Return φ_B of each block."""
        losses = self.loss.value(*self._flat(margins)).reshape(self.weight.shape)
        return np.asarray((self.weight * losses).sum(axis=1))

    def holds(self, bound: float) -> bool:
        """Return whether the loss of every block falls as L = bound promises, as far as rounding shows it."""
        promised = self.squared / (2.0 * bound)
        visible = promised > TUNING.least_decrease * np.abs(self.value)
        with np.errstate(over="ignore", invalid="ignore"):
            falls = self._value(self.margins - self.moved / bound) <= self.value - promised
        return bool((falls | ~visible).all())

    def shows(self, bound: float) -> bool:
        """Return whether the promised decrease of any block is above rounding."""
        return bool((self.squared / (2.0 * bound) > TUNING.least_decrease * np.abs(self.value)).any())


def updated(test: DescentTest, bound: float, share: float) -> float:
    """Return L after a share of a local epoch: reduced, then doubled until the test holds.

    0 stands for no L yet; where rounding hides every decrease, L stays.
    """
    if bound == 0.0:
        return _first(test)
    return _doubled(test, bound * 2.0**-share) if test.shows(bound) else bound


def _first(test: DescentTest) -> float:
    """Return the least power of 2 for which the test holds; 0 where there is no gradient."""
    bound = 1.0
    if not test.squared.any():
        return 0.0
    while bound > TUNING.least_smoothness and test.holds(bound / 2.0):
        bound /= 2.0
    return _doubled(test, bound) if bound > TUNING.least_smoothness else 0.0


def _doubled(test: DescentTest, bound: float) -> float:
    """Double `bound` until the test holds."""
    while bound < TUNING.largest_smoothness and not test.holds(bound):
        bound *= 2.0
    return bound if math.isfinite(bound) else TUNING.largest_smoothness
