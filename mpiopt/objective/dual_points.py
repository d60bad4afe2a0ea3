"""Lower bounds of F* from several models of one output at once, each with a strength of its own of one penalty.

What `mpiopt.objective.dual_point` does with one model is done here with matrices of a row for each, and with one
exchange for all: on small sets the calls for single models would take most of the time of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective.dual_point import GOLDEN, SECTIONS
from mpiopt.objective.duality_gap import VALUE_ROUNDING, gap_terms
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

BLOCK = 1 << 14  # numbers of rows that a loss sees in one call: a call costs as much as a thousand of them


class EvaluatedModels(NamedTuple):
    """Models at their best intercepts, with the loss on every row of this rank.

    Attributes
    ----------
    w : ndarray, shape (K, width)
        The models.
    margins, slopes : ndarray, shape (K, n)
        w x_i, and the derivatives of the loss by them.
    loss : ndarray, shape (K,)
        (1/N) Σ s_i loss_i over all ranks.
    gradient : ndarray, shape (K, width)
        Its gradients.
    """

    w: Matrix
    margins: Matrix
    slopes: Matrix
    loss: Vector
    gradient: Matrix


class Gaps(NamedTuple):
    """F at some models, and how much its optimum is below at most; equal on all ranks."""

    value: Vector  # (K,)
    gap: Vector  # (K,)


def gaps_at(
    objective: Objective,
    strengths: Vector,
    at: EvaluatedModels,
    labels: list[LabelStatistics],
    channel: Channel,
    enough: Vector,
) -> Gaps:
    """Compute the duality gap of each model; collective, no pass over the columns.

    Parameters
    ----------
    objective : Objective
        With the penalty of the strength 1, without bounds and groups.
    strengths : ndarray, shape (K,)
        The penalty of each model, as a multiple of that.
    at : EvaluatedModels
        The models.
    labels : list of LabelStatistics
        In the units of each penalty.
    channel : Channel
        The ranks.
    enough : ndarray, shape (K,)
        Gaps of at most that are not searched to be made smaller.

    Returns
    -------
    Gaps
        Rounding of F included; inf where the penalty bounds nothing.
    """
    d = objective.shard.features
    lone = objective.ridge[:d] == 0.0  # columns without a ridge
    value, alpha = np.empty(len(strengths)), np.empty(len(strengths))
    each = max(1, BLOCK // max(d, 1))  # models at a time: their numbers stay in the cache
    every = [slice(begin, begin + each) for begin in range(0, len(strengths), each)]

    def penalties(models: slice) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        size = strengths[models, None]
        l1, l2 = size * objective.threshold[:d], size * objective.ridge[:d]
        return at.w[models, :d], -at.gradient[models, :d], l1, l2

    def penalty_part(alpha: Vector) -> Vector:
        found = np.empty(len(alpha))
        for models in every:
            w, v, l1, l2 = penalties(models)
            v *= alpha[models, None]
            terms = np.maximum(l1 * np.abs(w) - v * w, 0.0)
            if not lone.all():
                terms[:, ~lone] = gap_terms(w[:, ~lone], v[:, ~lone], l1[:, ~lone], l2[:, ~lone])
            found[models] = terms.sum(axis=1)
        return found

    loss_part = _LossPart(objective, at, channel)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for models in every:
            w, v, l1, l2 = penalties(models)
            value[models] = at.loss[models] + (l1 * np.abs(w) + 0.5 * l2 * w * w).sum(axis=1)
            ratio = np.divide(l1, np.abs(v), out=np.ones_like(v), where=(np.abs(v) > l1) & lone)
            alpha[models] = ratio.min(axis=1, initial=1.0)
        gap = penalty_part(alpha)
        if lone.any():
            gap = gap + np.where(alpha < 1.0, loss_part(alpha), 0.0)
        elif objective.threshold.any() and channel.of_root((gap > enough).astype(np.float64)).any():
            gap = _search(lambda alpha: penalty_part(alpha) + loss_part(alpha), gap, enough, channel)
        gap = gap + _intercept_parts(objective, at, value, labels)
        gap = gap + VALUE_ROUNDING * (2.0 * np.abs(value) + gap)
    bounded = bool(((objective.threshold[:d] > 0.0) | ~lone).all())
    good = np.isfinite(at.loss) & np.isfinite(at.gradient).all(axis=1) & np.isfinite(gap) & bounded
    return Gaps(np.where(np.isfinite(at.loss), value, np.inf), np.where(good, gap, np.inf))


class Block(NamedTuple):
    """Some models and the labels of their rows, one model after the other."""

    models: slice
    labels: Vector  # (models · n,)

    def of(self, function: Callable[[Matrix, Vector], Vector], z: Matrix) -> Matrix:
        """Return a function of a loss for each row and model, of the shape of their margins z, (models, n)."""
        return function(z.reshape(-1, 1), self.labels).reshape(z.shape)


def blocks(count: int, y: Vector) -> Iterator[Block]:
    """Yield all of `count` models in blocks, each for one call of a loss with the labels (n,) of all rows."""
    each = min(max(1, BLOCK // max(len(y), 1)), max(count, 1))
    labels = y if each == 1 else np.concatenate([y] * each)
    for begin in range(0, count, each):
        models = slice(begin, min(begin + each, count))
        yield Block(models, labels[: (models.stop - begin) * len(y)])


class _LossPart:
    """The loss's parts of the gaps as functions of α; each call is an exchange of K numbers."""

    def __init__(self, objective: Objective, at: EvaluatedModels, channel: Channel) -> None:
        shard = objective.shard
        counted = shard.weight > 0.0  # of others even an infinite loss counts nothing
        every = slice(None) if counted.all() else counted
        self.loss, self.channel, self.y = objective.loss, channel, shard.label[every]
        self.z, self.slopes = at.margins[:, every], at.slopes[:, every]
        self.s = shard.weight[every] / shard.total

    def __call__(self, alpha: Vector) -> Vector:
        """Return (1/N) Σ s_i (loss_i + loss_i*(α slope_i) − α slope_i z_i) of each model, (K,); collective."""
        found = np.empty(len(alpha))
        for block in blocks(len(alpha), self.y):
            z, u = self.z[block.models], alpha[block.models, None] * self.slopes[block.models]
            rows = block.of(self.loss.value, z) + block.of(self.loss.conjugate, u) - u * z
            found[block.models] = rows @ self.s
        return self.channel.sum(found)


def _intercept_parts(
    objective: Objective, at: EvaluatedModels, value: Vector, labels: list[LabelStatistics]
) -> Vector:
    """Bound the part of each gap that the intercept's slope adds, as `gap_of_intercept` does; (K,)."""
    found, d = np.zeros(len(value)), objective.shard.features
    if not objective.shard.intercept:
        return found
    ridge = bool(objective.ridge.any())
    for k, known in enumerate(labels):
        slope = abs(float(at.gradient[k, d]))
        if slope > 0.0:
            above = max(float(value[k]) - known.floor, 0.0) + VALUE_ROUNDING * abs(float(value[k]))
            size = float(np.sqrt(2.0 * above)) if ridge else above
            found[k] = slope * (abs(float(at.w[k, d])) + objective.loss.intercept_bound(known, above, size))
    return found


def _search(gap: Callable[[Vector], Vector], at_one: Vector, enough: Vector, channel: Channel) -> Vector:
    """Return the least gaps over α in [½, 1] by golden sections, until all are small enough; collective."""
    low, high, best = np.full_like(at_one, 0.5), np.ones_like(at_one), at_one
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = gap(left), gap(right)
    for _ in range(SECTIONS):
        best = np.minimum(best, np.minimum(at_left, at_right))
        if channel.of_root(np.array([float((best <= enough).all())]))[0] > 0.0:
            return best
        falls = at_left < at_right
        low, high = np.where(falls, low, left), np.where(falls, right, high)
        new = np.where(falls, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        at_new = gap(new)
        left, right = np.where(falls, new, right), np.where(falls, left, new)
        at_left, at_right = np.where(falls, at_new, at_right), np.where(falls, at_left, at_new)
    return best
