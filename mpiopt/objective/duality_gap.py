"""Bound F(w) − F* by the exact objective and gradient at w alone.

With v = −∇loss(w), every w has the Fenchel dual point at which the loss part of the duality gap vanishes. The
penalty's part is left: Σ_j h(w_j) + h*(v_j) − v_j w_j >= F(w) − F*. For h = l1|·| + (l2/2)|·|² it is

    gap_j = l1 |w_j| + (l2/2) w_j² + (|v_j| − l1)₊² / (2 l2) − v_j w_j

and for the ridge alone Σ_j |l2 w_j − v_j|²/(2 l2) = |∇F|²/(2 l2). Without l2, h* is an indicator and the gap is
infinite, unless the optimum is known to lie in a bounded set, which may be added to h:

* the lasso has Σ_j l1_j |w*_j| <= r = F(w) − floor: Σ_j (l1_j |w_j| − v_j w_j) + r max_j (|v_j|/l1_j − 1)₊;
* an intercept with |b*| <= R adds |v_b| (|b| + R).

`floor` is a lower bound of the loss part (0 except for Poisson). R follows from F* <= F(w): then
Σ_j l2_j w*_j² <= 2 (F(w) − floor), or Σ_j l1_j |w*_j| <= F(w) − floor, so the margins without the intercept are
bounded by the norms of the rows, and a larger intercept would cost more than F(w) on the rows of the rarest class, or
on all rows (`Loss.intercept_bound`). If the gradient was compressed, the bound on its error is added.

`mpiopt.objective.dual_point` has tighter bounds that cost a pass over the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.data.offsets import labels_of, largest_offset
from mpiopt.objective.bounds import Bounds
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.objective import Model, Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LEAST_SCALE = 1e-9  # of F(0) − floor: a gap is relative to at least this, since F(w) may reach the floor
VALUE_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)  # of F: error of a sum over the rows
TINY = 1e-300  # avoids a division by 0 where F(0) is the floor


def label_statistics(objective: Objective, channel: Channel) -> LabelStatistics:
    """Collect what bounds need to know of labels and rows; collective, two passes, two exchanges (offsets: three)."""
    shard, y = objective.shard, labels_of(objective.shard.label)
    s = shard.weight / shard.total
    column = size_of_columns(objective)
    row = float(np.sqrt(objective.row_norms(column**2)).max(initial=0.0))
    least = float(s[s > 0.0].min(initial=np.inf))
    largest, row, least = (float(v) for v in channel.max(np.array([np.abs(y).max(initial=0.0), row, -least])))
    shares = _class_shares(objective, s)
    row_sum = objective.row_sum(s) if shard.intercept else np.zeros(objective.width)
    sums = channel.sum(float((s * objective.loss.lowest(y)).sum()), float((s * y).sum()), shares, row_sum)
    floor, mean = sums[:2]
    rarest = float(sums[2 : 2 + len(shares)].min(initial=np.inf))
    mean_row = sums[2 + len(shares) :]
    return LabelStatistics(
        floor=float(floor),
        largest_label=largest,
        mean_label=float(mean),
        rarest_share=rarest,
        largest_row=row,
        mean_row=float(np.linalg.norm(mean_row * column)),
        least_share=-least,
        mean_row_vector=mean_row,
        largest_offset=float(channel.max(largest_offset(shard.label))[0]) if shard.has_offsets else 0.0,
    )


def size_of_columns(objective: Objective) -> Vector:
    """Return c with |w·x| <= ‖c x‖ times the size of w by its penalty, shape (width,); 0 where there is none."""
    ridge, threshold = objective.ridge, objective.threshold
    column = np.zeros(objective.width)
    if ridge.any():
        np.divide(1.0, np.sqrt(ridge), out=column, where=ridge > 0.0)
    else:
        np.divide(1.0, threshold, out=column, where=threshold > 0.0)
    return column


def _class_shares(objective: Objective, s: Vector) -> Vector:
    """Return this rank's part of the weight of each class; an empty array if the labels are not classes."""
    y = labels_of(objective.shard.label)
    if objective.loss.target == "binary":
        return np.array([s[y < 0].sum(), s[y > 0].sum()])
    if objective.loss.target == "multiclass":
        return np.bincount(y.astype(np.int64), s, objective.outputs).astype(np.float64)
    return np.empty(0)


def gap_of_gradient(
    objective: Objective, w: Model, exact: Evaluation, labels: LabelStatistics | None = None
) -> float:
    """Bound F(w) − F* by the gradient at w, without communication.

    Parameters
    ----------
    objective : Objective
        This rank's share; loss, penalty and the columns in use are read.
    w : ndarray, shape (outputs, width)
        The model.
    exact : Evaluation
        The objective at `w`.
    labels : LabelStatistics, optional
        What `label_statistics` returned. Without it there is a gap only if every column has an l2.

    Returns
    -------
    float
        The gap in units of F; inf if nothing bounds the optimum.
    """
    d, v = objective.shard.features, -exact.gradient
    if objective.shard.intercept and labels is None:
        return np.inf
    above = _above_floor(exact.value, labels)
    l1, l2 = objective.threshold[:d], objective.ridge[:d]
    if objective.bounds is not None:
        gap = _gap_in_bounds(objective, w, v, above) if not exact.error and labels is not None else np.inf
    elif objective.groups is not None:
        gap = _gap_of_groups(objective, w, v, above) if not exact.error and labels is not None else np.inf
    elif (l2 > 0.0).all():
        gap = duality_gap(w[:, :d], v[:, :d], l1, l2, exact.error)
    elif (l1 > 0.0).all() and not l2.any() and labels is not None:
        size, used, excess = above, w[:, :d], np.maximum(np.abs(v[:, :d]) - l1, 0.0)
        gap = float((l1 * np.abs(used) - v[:, :d] * used).sum()) + size * float((excess / l1).max(initial=0.0))
        gap += exact.error * (float(np.linalg.norm(used)) + size / float(l1.min(initial=np.inf)))
    else:
        return np.inf
    return gap + gap_of_intercept(objective, w, exact, labels)


def _gap_in_bounds(objective: Objective, w: Model, v: Model, above: float) -> float:
    """Return the gap with bounds; weights that nothing else bounds have Σ l1 |w*| <= above."""
    d = objective.shard.features
    w, v, l1, l2 = w[:, :d], v[:, :d], objective.threshold[:d], objective.ridge[:d]
    each = bounds_of_features(objective).gaps(w, v, l1, l2)
    beyond = ~np.isfinite(each)
    if not beyond.any():
        return float(each.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = float((np.abs(v) / l1 - 1.0)[beyond].max())
    return float(each[~beyond].sum() + (l1 * np.abs(w) - v * w)[beyond].sum()) + above * excess


def _gap_of_groups(objective: Objective, w: Model, v: Model, above: float) -> float:
    """Return the gap with groups; without l2 the optimum has Σ λ_g ‖w*_g‖ <= above."""
    groups, (l1, l2) = objective.groups, objective.penalty.strengths
    if groups is None:
        return np.inf
    excess = 0.0 if l2 > 0.0 else max(groups.largest(v) / l1 - 1.0, 0.0)
    return groups.gap(w, v, l1, l2) + above * excess


def bounds_of_features(objective: Objective) -> Bounds:
    """Return the bounds of the features, without those of the intercept; infinite ones if there are none."""
    d = objective.shard.features
    none = Bounds(np.full(d, -np.inf), np.full(d, np.inf))
    return none if objective.bounds is None else objective.bounds.of_columns(np.arange(d))


def gap_of_intercept(objective: Objective, w: Model, exact: Evaluation, labels: LabelStatistics | None) -> float:
    """Bound the part of the gap that the intercept's slope adds: Σ |v_b| (|b| + R); 0 without an intercept."""
    if labels is None or not objective.shard.intercept:
        return 0.0
    d, above = objective.shard.features, _above_floor(exact.value, labels)
    size = float(np.sqrt(2.0 * above)) if objective.ridge.any() else above
    b = w[:, d] - (w[:, d].mean() if objective.outputs > 1 else 0.0)
    distance = np.abs(b) + objective.loss.intercept_bound(labels, above, size)
    slope = np.abs(exact.gradient[:, d])
    part = np.multiply(slope, distance, out=np.zeros_like(slope), where=slope > 0.0)
    return float(part.sum()) + (exact.error * float(np.linalg.norm(distance)) if exact.error else 0.0)


def _above_floor(value: float, labels: LabelStatistics | None) -> float:
    """Return F − floor, which is not negative but for rounding, and at least that."""
    return max(value - (labels.floor if labels is not None else 0.0), 0.0) + VALUE_ROUNDING * abs(value)


def duality_gap(w: Model, v: Model, l1: Vector, l2: Vector, error: float = 0.0) -> float:
    """Compute Σ_j h(w_j) + h*(v_j) − v_j w_j for l2 > 0, as a sum of terms that are not negative.

    With u = soft(v, l1)/l2, the minimiser of the dual's side, a term is (l2/2)(w − u)² + l1|w| − (v − l2 u) w. The
    gap has the slope u − w in v, which is 1/l2-Lipschitz: an error in v adds at most ‖u − w‖ error + error²/(2 l2).

    Parameters
    ----------
    w, v : ndarray, shape (outputs, d)
        The model and minus the gradient of the loss part, without the intercept.
    l1, l2 : ndarray, shape (d,)
        The penalty of each column.
    error : float
        Upper bound on ‖v − exact v‖₂.

    Returns
    -------
    float
        The gap, or an upper bound on it if error > 0.
    """
    gap = float(gap_terms(w, v, l1, l2).sum())
    if error == 0.0:
        return gap
    return gap + error * (float(np.linalg.norm(_taking_on(v, l1, l2) - w)) + 0.5 * error / float(l2.min()))


def gap_terms(w: Model, v: Model, l1: Vector, l2: Vector) -> Model:
    """Compute h(w_j) + h*(v_j) − v_j w_j of each weight, as `duality_gap` does; l1 and l2 of any shape that fits."""
    u = _taking_on(v, l1, l2)
    rest = v - l2 * u  # |rest| <= l1, so that l1|w| - rest w >= 0
    return np.asarray(0.5 * l2 * (w - u) ** 2 + np.maximum(l1 * np.abs(w) - rest * w, 0.0))


def _taking_on(v: Model, l1: Vector, l2: Vector) -> Model:
    """Return the weights that take on the conjugate."""
    return np.asarray(np.sign(v) * np.maximum(np.abs(v) - l1, 0.0) / l2)


def expected_gap(objective: Objective, w: Model, exact: Evaluation, labels: LabelStatistics) -> float:
    """Estimate the gap of `mpiopt.objective.dual_point` at w, which costs a pass; local.

    A better intercept moves the gradient by the slope of the intercept times the mean row. It is no bound.
    """
    d, v = objective.shard.features, -exact.gradient
    if objective.shard.intercept:
        v = v - v[:, d : d + 1] * labels.mean_row_vector
    if objective.groups is not None:
        strength, ridge = objective.penalty.strengths
        alpha = 1.0 if ridge > 0.0 else objective.groups.scaling(v, strength)
        return objective.groups.gap(w, alpha * v, strength, ridge) + (1.0 - alpha) ** 2 * (exact.value - labels.floor)
    v, w, l1, l2 = v[:, :d], w[:, :d], objective.threshold[:d], objective.ridge[:d]
    if objective.bounds is not None:
        bounds = bounds_of_features(objective)
        alpha = bounds.scaling(v, l1, l2)
        return float(bounds.gaps(w, alpha * v, l1, l2).sum()) + (1.0 - alpha) ** 2 * (exact.value - labels.floor)
    l1, l2 = (np.tile(part, len(w))[None] for part in (l1, l2))
    above = np.array([exact.value - labels.floor])
    return float(expected_gaps(w.reshape(1, -1), v.reshape(1, -1), l1, l2, above)[0])


def expected_gaps(w: Matrix, v: Matrix, l1: Matrix, l2: Matrix, above: Vector) -> Vector:
    """Do as `expected_gap` for models (K, d) and penalties (K, d) without bounds and groups, F `above` its floor."""
    smooth = gap_terms(w, v, l1, l2).sum(axis=1) if (l2 > 0.0).all() else np.full(len(w), np.inf)
    if not l1.any():
        return np.asarray(smooth)
    alpha = np.divide(l1, np.abs(v), out=np.ones_like(v), where=np.abs(v) > l1).min(axis=1, initial=1.0)
    scaled = np.abs((l1 * np.abs(w) + 0.5 * l2 * w * w - alpha[:, None] * v * w).sum(axis=1))
    return np.asarray(np.minimum(smooth, scaled + (1.0 - alpha) ** 2 * above))


def gap_of_noise(objective: Objective, w: Model, noise: Model, above: float) -> float:
    """Return the gap that an error `noise` of the gradient's numbers makes, where F is `above` its floor; local."""
    d = objective.shard.features
    eta, l1, l2 = noise[:, :d], objective.threshold[:d], objective.ridge[:d]
    smooth = l2 > 0.0
    gap = 0.5 * float((eta[:, smooth] ** 2 / l2[smooth]).sum())
    if smooth.all():
        return gap
    rest = eta[:, ~smooth]
    outside = float((rest / l1[~smooth]).max())
    return gap + float((rest * np.abs(w[:, :d][:, ~smooth])).sum()) + outside * above


def prox_gradient(objective: Objective, w: Model, exact: Evaluation) -> Model:
    """Compute w − prox_h(w − ∇loss(w)), zero exactly at the optimum; the gradient of F if h is smooth."""
    gradient = exact.gradient + objective.ridge * w
    if not objective.threshold.any():
        return np.asarray(gradient)
    at = w - gradient
    return np.asarray(w - np.sign(at) * np.maximum(np.abs(at) - objective.threshold, 0.0))


def steepest(objective: Objective, w: Model, gradient: Model) -> Model:
    """Return the gradient of F; with l1 the subgradient of least norm. `gradient` is that of the loss part."""
    return least_subgradient(w, gradient + objective.ridge * w, objective.threshold)


def least_subgradient(w: Vector, g: Vector, threshold: Vector) -> Vector:
    """Return the subgradient of least norm at w, g the gradient of the smooth part (OWL-QN's pseudo-gradient)."""
    shrunk = np.sign(g) * np.maximum(np.abs(g) - threshold, 0.0)
    return np.where(w == 0, shrunk, g + np.sign(w) * threshold)
