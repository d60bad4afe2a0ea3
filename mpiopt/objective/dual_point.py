"""A lower bound of F* from a dual point: the intercept is minimised exactly first, and slopes are scaled for l1.

At (w, b̂), b̂ the best constants for w, the slopes of the loss sum to 0 for each output: minus the slopes is a dual
point that the intercept allows. With u_i = α loss_i'(z_i) and v = −(1/N) Σ s_i u_i x_i, the gap is

    (1/N) Σ s_i (loss_i(z_i) + loss_i*(u_i) − u_i z_i) + Σ_j h_j(w_j) + h_j*(v_j) − v_j w_j,   α in [0, 1].

Both sums have terms >= 0, and α = 1 makes the first one 0. A column with l1 only has h* = ∞ where |v_j| > l1, so α is
the largest that keeps all |v_j| <= l1 (A. Raj et al., Screening rules for convex problems, 2016, arXiv 1609.07478; E.
Ndiaye et al., Gap safe screening rules, JMLR 18 (2017)). With l1 and l2 the best α in [½, 1] is searched for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective import passes
from mpiopt.objective.duality_gap import (
    TINY,
    VALUE_ROUNDING,
    bounds_of_features,
    duality_gap,
    gap_of_intercept,
)
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.intercept import minimise_intercept
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.objective import Model, Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

EPOCHS = 1.0  # one product with the rows and one with their transpose: the work of one row gradient for each row
SECTIONS = 24  # of the search for the best α: each keeps 62 % of the interval
GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)


class DualBound(NamedTuple):
    """The model with its intercept minimised, and a lower bound of the optimum; equal on all ranks.

    Attributes
    ----------
    w : ndarray, shape (outputs, width)
        The given weights with the best intercept.
    value : float
        F there.
    gradient : ndarray, shape (outputs, width)
        The gradient of the loss part there.
    lower : float
        F* is at least this, up to rounding; -inf if the penalty bounds nothing.
    """

    w: Model
    value: float
    gradient: Model
    lower: float


def bound_from_below(objective: Objective, w: Model, labels: LabelStatistics, channel: Channel) -> DualBound:
    """Minimise over the intercept and compute the dual objective; collective.

    The cost is that of one evaluation: a product with the rows, and one with their transpose.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective.
    w : ndarray, shape (outputs, width)
        The model, the same on all ranks.
    labels : LabelStatistics
        What bounds the rest of the intercept's slope, which is rounding where the minimum was found.
    channel : Channel
        The ranks.

    Returns
    -------
    DualBound
        The same bits on all ranks.
    """
    shard, w = objective.shard, w.copy()
    y, s = shard.label, shard.weight / shard.total
    z = objective.predict(w)
    if shard.intercept:
        shift = minimise_intercept(objective.loss, z, y, s, channel)
        w[:, shard.features] += shift
        z += shift
    with np.errstate(over="ignore", invalid="ignore"):  # a step may be too long; then there is no bound
        slopes = objective.loss.slope(z, y)
        own = passes.weighted_row_sum(shard.rows, slopes * s[:, None])
        total = channel.sum(float(s @ objective.loss.value(z, y)), own)
    value, gradient = float(total[0]), total[1:].reshape(w.shape)
    return bound_at(objective, EvaluatedRows(w, z, slopes, value, gradient), labels, channel)


def bound_of_slopes(
    objective: Objective, w: Model, exact: Evaluation, slopes: Matrix, labels: LabelStatistics, channel: Channel
) -> float:
    """Bound F* from below by slopes that come from elsewhere than from margins; collective, two products with rows.

    The loss must have a clipped line as its slope. A method that has slopes among its unknowns knows them to more
    digits than margins do, which are near the corners of the loss.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective.
    w, exact : ndarray, shape (1, width), and Evaluation
        A model near the optimum, and the objective there. Any model gives a bound.
    slopes : ndarray, shape (n, 1)
        Of this rank's rows, within the bounds of the line.
    labels : LabelStatistics
        What bounds the slope of the intercept.
    channel : Channel
        The ranks.

    Returns
    -------
    float
        F* is at least this, up to rounding; -inf if the penalty bounds nothing.
    """
    shard, d = objective.shard, objective.shard.features
    line, s = objective.loss.clipped_line(shard.label), shard.weight / shard.total
    l1, l2 = objective.threshold[:d], objective.ridge[:d]
    if line is None or not ((l1 > 0.0) | (l2 > 0.0)).all():
        return -np.inf
    slopes = _balanced(slopes[:, 0], s, channel)[:, None] if shard.intercept else slopes
    shift = 0.0
    if shard.far is None:
        gradient = channel.sum(passes.weighted_row_sum(shard.rows, slopes * s[:, None])).reshape(w.shape)
    else:
        gradient, shift = _with_best_sum(objective, w, slopes[:, 0] * s, channel)
    v, only_l1 = -gradient[:, :d], l2 == 0.0
    over = np.divide(l1, np.abs(v), out=np.ones_like(v), where=np.abs(v) > l1)[:, only_l1]
    alpha = float(over.min(initial=1.0))
    u, v, gradient = alpha * slopes[:, 0], alpha * v, alpha * gradient
    at = line.centre + u / line.bend  # where the loss has these slopes
    parts = s * objective.loss.value(at[:, None], shard.label), s * u * (objective.predict(w)[:, 0] - at)
    own = [float(part[s > 0.0].sum()) for part in parts]
    size = sum(float(np.abs(part[s > 0.0]).sum()) for part in parts)
    loss, moved, size = (float(number) for number in channel.sum(*own, size))
    gap = duality_gap(w[:, :d][:, ~only_l1], v[:, ~only_l1], l1[~only_l1], l2[~only_l1])
    gap += float(np.maximum(l1 * np.abs(w[:, :d]) - v * w[:, :d], 0.0)[:, only_l1].sum())
    gap += gap_of_intercept(objective, w, Evaluation(exact.value, gradient), labels)
    if shift:
        loss -= _cost_of_shift(objective, w, u, at, shift, channel)
    lower = loss + moved + objective.penalty_value(w) - gap - VALUE_ROUNDING * (size + gap + abs(exact.value))
    return lower if np.isfinite(lower) else -np.inf


def _with_best_sum(objective: Objective, w: Model, u: Vector, channel: Channel) -> tuple[Model, float]:
    """Return the gradient of weighted slopes u whose sum is the best one, and by how much it is another; collective.

    Where columns lie far from 0, the last bits of slopes move Σ u_i, and so the gap, by more than the tolerance. The
    sum is a number of the dual point that need not be one of float64 slopes.
    """
    shard, d = objective.shard, objective.shard.features
    far = np.zeros(d) if shard.far is None else shard.far
    total = channel.sum(passes.weighted_row_sum(objective.distances, u[:, None]), float(u.sum()))
    gradient, now = total[:-1].reshape(w.shape), float(total[-1])
    l1, l2 = objective.threshold[:d], objective.ridge[:d]
    held = (far != 0.0) & (l2 > 0.0) & ((w[0, :d] != 0.0) | (l1 == 0.0))
    best = now
    if held.any():
        rest = -(gradient[0, :d] + l2 * w[0, :d] + l1 * np.sign(w[0, :d]))[held]
        c, weight = far[held], 1.0 / l2[held]
        best = float((c * weight * rest).sum() / (c * c * weight).sum())
    gradient[:, :d] += far * best
    return gradient, best - now


def _cost_of_shift(objective: Objective, w: Model, u: Vector, at: Vector, shift: float, channel: Channel) -> float:
    """Bound by how much the loss's part of a lower bound falls if slopes shift; inf if none can; collective.

    Slopes that are inside their bounds shift; `at` is where the loss has the slopes u.
    """
    shard = objective.shard
    line, s = objective.loss.clipped_line(shard.label), shard.weight / shard.total
    if line is None:
        return np.inf
    room = np.minimum(u - line.low, line.high - u)
    inside = float(channel.max(float(room[s > 0.0].max(initial=0.0)))[0])
    chosen = (room >= 0.5 * inside) & (s > 0.0)
    weight = float(channel.sum(float(s[chosen].sum()))[0])
    if not (weight > 0.0 and abs(shift) < 0.5 * inside * weight):
        return np.inf
    away = np.abs(objective.predict(w)[:, 0] - at)[chosen].max(initial=0.0)
    least = float(np.min(np.broadcast_to(line.bend, len(s))[chosen], initial=np.inf))
    away, bend = float(channel.max(away)[0]), -float(channel.max(-least)[0])
    return abs(shift) * away + 0.5 * shift * shift / (bend * weight)


def _balanced(slopes: Vector, s: Vector, channel: Channel) -> Vector:
    """Return slopes whose sum is 0, as the intercept wants it: those of the larger side shrink; collective."""
    up, down = (
        float(v) for v in channel.sum(float(s @ np.maximum(slopes, 0.0)), float(s @ np.maximum(-slopes, 0.0)))
    )
    least = min(up, down)
    return slopes * np.where(slopes > 0.0, least / max(up, TINY), least / max(down, TINY))


class EvaluatedRows(NamedTuple):
    """A model at its best intercept, with the loss on every row of this rank.

    Attributes
    ----------
    w : ndarray, shape (outputs, width)
        The model.
    margins, slopes : ndarray, shape (n, outputs)
        W x_i, and the derivatives of the loss by them.
    loss : float
        (1/N) Σ s_i loss_i over all ranks.
    gradient : ndarray, shape (outputs, width)
        Its gradient.
    """

    w: Model
    margins: Matrix
    slopes: Matrix
    loss: float
    gradient: Model


def bound_at(
    objective: Objective, at: EvaluatedRows, labels: LabelStatistics, channel: Channel, enough: float = 0.0
) -> DualBound:
    """Compute the dual objective from an evaluation; collective, no pass over the columns.

    A gap of at most `enough` is not searched to be made smaller.
    """
    w, gradient = at.w, at.gradient
    if not (np.isfinite(at.loss) and np.isfinite(gradient).all()):
        return DualBound(w, np.inf, np.zeros_like(w), -np.inf)
    value = at.loss + objective.penalty_value(w)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = _gap(objective, w, gradient, _LossPart(objective, at.margins, at.slopes, channel), enough)
        gap += gap_of_intercept(objective, w, Evaluation(value, gradient), labels)
        lower = value - gap - VALUE_ROUNDING * (abs(value) + gap)  # a difference of large numbers is rounded
    return DualBound(w, value, gradient, lower if np.isfinite(lower) else -np.inf)


class _LossPart:
    """The loss's part of the gap as a function of α; each call is an exchange of one number."""

    def __init__(self, objective: Objective, z: Matrix, slopes: Matrix, channel: Channel) -> None:
        shard = objective.shard
        self.loss, self.z, self.slopes, self.channel = objective.loss, z, slopes, channel
        self.y, self.s = shard.label, shard.weight / shard.total
        self.value: Vector | None = None

    def __call__(self, alpha: float) -> float:
        """Return (1/N) Σ s_i (loss_i + loss_i*(α slope_i) − α slope_i z_i); collective."""
        if self.value is None:
            self.value = self.loss.value(self.z, self.y)
        u = alpha * self.slopes
        with np.errstate(invalid="ignore"):
            rows = self.value + self.loss.conjugate(u, self.y) - (u * self.z).sum(axis=1)
        return float(self.channel.sum(float(self.s[self.s > 0.0] @ rows[self.s > 0.0]))[0])


def _gap(objective: Objective, w: Model, gradient: Model, loss_part: _LossPart, enough: float = 0.0) -> float:
    """Return the smallest gap over α, or one of at most `enough`; inf if a column has no penalty."""
    d = objective.shard.features
    w, v, l1, l2 = w[:, :d], -gradient[:, :d], objective.threshold[:d], objective.ridge[:d]
    if d == 0:
        return 0.0
    if not ((l1 > 0.0) | (l2 > 0.0)).all():
        return np.inf
    if objective.bounds is not None:
        bounds = bounds_of_features(objective)
        alpha = bounds.scaling(v, l1, l2)

        def part_in_bounds(alpha: float) -> float:
            return float(bounds.gaps(w, alpha * v, l1, l2).sum())

        gap = part_in_bounds(alpha) + (loss_part(alpha) if alpha < 1.0 else 0.0)
        searched = alpha == 1.0 and l1.any() and (l2 > 0.0).all() and gap > enough
        return _search(lambda alpha: part_in_bounds(alpha) + loss_part(alpha), gap) if searched else gap
    only_l1 = l2 == 0.0
    largest = float(
        np.min(np.divide(l1, np.abs(v), out=np.full_like(v, np.inf), where=np.abs(v) > l1)[:, only_l1], initial=1.0)
    )

    def penalty_part(alpha: float) -> float:
        kept = duality_gap(w[:, ~only_l1], alpha * v[:, ~only_l1], l1[~only_l1], l2[~only_l1])
        return kept + float(np.maximum(l1 * np.abs(w) - alpha * v * w, 0.0)[:, only_l1].sum())

    if only_l1.any():
        return penalty_part(largest) + (loss_part(largest) if largest < 1.0 else 0.0)
    gap = penalty_part(1.0)
    searched = l1.any() and gap > enough
    return _search(lambda alpha: penalty_part(alpha) + loss_part(alpha), gap) if searched else gap


def _search(gap: Callable[[float], float], at_one: float) -> float:
    """Return the least gap over α in [½, 1] by golden sections; the gap is convex in α."""
    low, high = 0.5, 1.0
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right, best = gap(left), gap(right), at_one
    for _ in range(SECTIONS):
        best = min(best, at_left, at_right)
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = gap(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = gap(right)
    return best
