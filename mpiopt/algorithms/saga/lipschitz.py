"""How curved the rows and the mean of a shard are, and steps that follow from it: for those without a full metric."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.warm_start import cut
from mpiopt.compress.channel import Channel
from mpiopt.objective import passes as rows
from mpiopt.objective.evaluation import Model
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]

UNEVEN = 1e3  # a column that bends so much more than the middle one calls for steps of their own


class Looked(NamedTuple):
    """How closely the curvature of the mean is looked at."""

    rows: int  # of a rank
    passes: int  # of the power iteration
    margin: float  # for what it has not found


SAMPLE, EVERY = Looked(2048, 10, 1.1), Looked(2**62, 20, 1.05)


class Constants(NamedTuple):
    """Smoothness in the scaled columns, the largest of all ranks' shards."""

    row: float  # L_max, of a row's loss
    mean: float  # L, of the mean of a shard's losses
    ridge: float  # λ


def constants(objective: Objective, w: Model, column: Vector, looked: Looked, channel: Channel) -> Constants:
    """Measure the constants; collective, one exchange of two numbers.

    L is the result of some power iterations on the first rows of each shard, with a margin.
    """
    c = _bounds(objective, w)
    row = float((c * rows.squared_norms(objective.shard.rows, column)).max(initial=0.0))
    mean = min(_mean_smoothness(objective, c, column, looked), row)
    row, mean = (float(v) for v in channel.max(np.array([row, mean])))
    return Constants(row, mean, float((objective.ridge * column).max(initial=0.0)))


def step(known: Constants, batch: int) -> float:
    """Give γ = 1/(2 ((L_max + (b − 1) L)/b + λ)): a block's smoothness is between a row's and the mean's."""
    smooth = (known.row + (batch - 1) * known.mean) / batch + known.ridge
    return 0.5 / smooth if smooth > 0.0 else 1.0


def chosen_step(objective: Objective, w: Model, batch: int, column: Vector, channel: Channel) -> float:
    """Give `step` for constants that are estimated from a sample of each rank's rows; collective."""
    return step(constants(objective, w, column, SAMPLE, channel), batch)


def theoretical_bound(known: Constants, batch: int) -> float:
    """Give the least M for which a proof allows γ = 1/M: min{3 L_max, L + 6 L_max/b}, the ridge in both L.

    3 L_max is theorem 1 of Defazio, Bach and Lacoste-Julien (2014). In the other, as of b ranks that visit a row
    each and exchange, E‖v‖² <= (2 L + 4 L_max/b)(F − F*) + (2/b) D, D the mean ‖α_i − ∇f_i(w*)‖²; a Lyapunov
    function ‖w − w*‖² + 4 γ² (n/b) D then falls by min{γ μ, b/(2 n)}. Both are for rows drawn with replacement and
    an exchange after every step.
    """
    row, mean, ridge = known
    return min(3.0 * (row + ridge), mean + ridge + 6.0 * (row + ridge) / batch)


def scaling(objective: Objective, w: Model, channel: Channel) -> Vector:
    """Give 1/D_j, D_j = (1/N) Σ s_i c_i x_ij² + l2; 0 where a column is empty; collective."""
    c = _bounds(objective, w)
    whole = channel.sum(rows.column_squares(objective.shard.rows, c) / objective.shard.total) + objective.ridge
    column = np.zeros_like(whole)
    np.divide(1.0, whole, out=column, where=whole > 0.0)
    return column


def _bounds(objective: Objective, w: Model) -> Vector:
    """Give an upper bound of each row's curvature; where the loss has none, twice what it is at w."""
    bound = objective.loss.curvature_bound
    return 2.0 * objective.row_curvatures(w) if bound is None else bound * objective.shard.weight


def _mean_smoothness(objective: Objective, c: Vector, column: Vector, looked: Looked) -> float:
    """Estimate the largest eigenvalue of the rank's mean (1/n) Σ c_i x_i x_iᵀ in the scaled columns."""
    count = min(looked.rows, len(objective.shard))
    if count == 0:
        return 0.0
    x, root = cut(objective.shard.rows, count), np.sqrt(column)
    v = np.random.default_rng(0).standard_normal(len(column)) * (root > 0.0)
    largest = 0.0
    for _ in range(looked.passes):
        v = root * rows.hessian_vector(x, c[:count], (root * v)[None, :])[0] / count
        largest = float(np.linalg.norm(v))
        if largest == 0.0:
            break
        v /= largest
    return looked.margin * largest


def uneven(scaled: Vector) -> bool:
    """Say whether one column bends far more than the middle one; `scaled` is that of `scaling`, without zeros."""
    return len(scaled) > 0 and bool(np.median(scaled) > UNEVEN * scaled.min())
