"""Smoothness constants of a shard's rows and of their mean, and the step sizes that follow from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.algorithms.warm_start import first_of
from mpiopt.compress.channel import Channel
from mpiopt.objective import passes
from mpiopt.objective.evaluation import Model
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]


class PowerIteration(NamedTuple):
    """How the smoothness of the mean loss is measured."""

    rows: int  # of a rank, at most
    passes: int  # over these rows
    margin: float  # factor on the result, for what the passes have not found


SAMPLE, EVERY_ROW = PowerIteration(2048, 10, 1.1), PowerIteration(2**62, 20, 1.05)


class SmoothnessConstants(NamedTuple):
    """Smoothness constants in the scaled columns, the largest of all ranks' shards."""

    row: float  # L_max, of a row's loss
    mean: float  # L, of the mean of a shard's losses
    ridge: float  # λ


def constants(
    objective: Objective, w: Model, column: Vector, method: PowerIteration, channel: Channel
) -> SmoothnessConstants:
    """Measure the smoothness constants; collective, one exchange of two numbers.

    Parameters
    ----------
    objective : Objective
        Rows and loss of this rank.
    w : (outputs, width) array
        Where the curvature is taken if the loss has no bound of it.
    column : (width,) array
        Scale of each column.
    method : PowerIteration
        How closely L is measured.
    channel : Channel
        The ranks.

    Returns
    -------
    SmoothnessConstants
        The same on all ranks.
    """
    c = _bounds(objective, w)
    row = float((c * passes.squared_norms(objective.shard.rows, column)).max(initial=0.0))
    mean = min(_mean_smoothness(objective, c, column, method), row)
    row, mean = (float(v) for v in channel.max(np.array([row, mean])))
    return SmoothnessConstants(row, mean, float((objective.ridge * column).max(initial=0.0)))


def step(known: SmoothnessConstants, batch: int) -> float:
    """Return γ = 1/(2 ((L_max + (b − 1) L)/b + λ)): the smoothness of a block lies between a row's and the mean's."""
    smooth = (known.row + (batch - 1) * known.mean) / batch + known.ridge
    return 0.5 / smooth if smooth > 0.0 else 1.0


def chosen_step(objective: Objective, w: Model, batch: int, column: Vector, channel: Channel) -> float:
    """Return `step` for constants that are measured on a sample of each rank's rows; collective."""
    return step(constants(objective, w, column, SAMPLE, channel), batch)


def theoretical_bound(known: SmoothnessConstants, batch: int) -> float:
    """Return the least M for which a proof allows γ = 1/M: min{3 L_max, L + 6 L_max/b}, the ridge in both L.

    3 L_max is theorem 1 of Defazio, Bach and Lacoste-Julien (2014). The other bound is for b ranks that visit a row
    each and then exchange: E‖v‖² <= (2 L + 4 L_max/b)(F − F*) + (2/b) D, where D is the mean of ‖α_i − ∇f_i(w*)‖².
    The Lyapunov function ‖w − w*‖² + 4 γ² (n/b) D then falls by min{γ μ, b/(2 n)}. Both proofs draw rows with
    replacement and exchange after every step.
    """
    row, mean, ridge = known
    return min(3.0 * (row + ridge), mean + ridge + 6.0 * (row + ridge) / batch)


def scaling(objective: Objective, w: Model, channel: Channel) -> Vector:
    """Return 1/D_j with D_j = (1/N) Σ s_i c_i x_ij² + l2; 0 where a column is empty; collective."""
    c = _bounds(objective, w)
    whole = channel.sum(passes.column_squares(objective.shard.rows, c) / objective.shard.total) + objective.ridge
    column = np.zeros_like(whole)
    np.divide(1.0, whole, out=column, where=whole > 0.0)
    return column


def is_uneven(column: Vector) -> bool:
    """Return whether a column of a `scaling` has far more curvature than the middle one; empty ones do not count."""
    filled = column[column > 0.0]
    return len(filled) > 0 and bool(np.median(filled) > TUNING.uneven * filled.min())


def _bounds(objective: Objective, w: Model) -> Vector:
    """Return an upper bound of each row's curvature; where the loss has none, twice the curvature at w."""
    bound = objective.loss.curvature_bound
    return 2.0 * objective.row_curvatures(w) if bound is None else bound * objective.shard.weight


def _mean_smoothness(objective: Objective, c: Vector, column: Vector, method: PowerIteration) -> float:
    """Estimate the largest eigenvalue of the rank's mean (1/n) Σ c_i x_i x_iᵀ in the scaled columns."""
    count = min(method.rows, len(objective.shard))
    if count == 0:
        return 0.0
    x, root = first_of(objective.shard.rows, count), np.sqrt(column)
    v = np.random.default_rng(0).standard_normal(len(column)) * (root > 0.0)
    largest = 0.0
    for _ in range(method.passes):
        v = root * passes.hessian_vector(x, c[:count], (root * v)[None, :])[0] / count
        largest = float(np.linalg.norm(v))
        if largest == 0.0:
            break
        v /= largest
    return method.margin * largest
