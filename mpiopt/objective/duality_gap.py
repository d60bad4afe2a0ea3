"""Certify that a model is near the optimum, from the exact objective and gradient there.

With v = −∇loss(w), every w has the Fenchel dual point at which the loss part of the duality gap vanishes. The
penalty's part is left: Σ_j h(w_j) + h*(v_j) − v_j w_j >= F(w) − F*. For h = l1|·| + (l2/2)|·|² it is

    gap_j = l1 |w_j| + (l2/2) w_j² + (|v_j| − l1)₊² / (2 l2) − v_j w_j

and for the ridge alone Σ_j |l2 w_j − v_j|²/(2 l2) = |∇F|²/(2 l2). Without l2, h* is an indicator and the gap is
infinite, unless the optimum is known to lie in a bounded set, which may be added to h:

* the lasso has ‖w*‖₁ <= r = (F(w) − floor)/l1, which gives gap = Σ_j (l1 |w_j| − v_j w_j) + r max_j (|v_j| − l1)₊;
* an intercept with |b*| <= R adds |v_b| (|b| + R).

`floor` is a lower bound of the loss part (0 except for Poisson). R follows from F* <= F(w): then
‖w*‖ <= √(2 (F(w) − floor)/l2), or ‖w*‖₁ <= (F(w) − floor)/l1, so the margins without the intercept are bounded by the
norms of the rows, and a larger intercept would cost more than F(w) on the rows of the rarest class, or on all rows
(`Loss.intercept_bound`).

The reported gap is relative to F(w) − floor. Without any penalty the measure is the norm of the prox-gradient map,
relative to its value at the model 0. If the gradient was compressed, the bound on its error is added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.objective import Model, Objective

Vector = NDArray[np.float64]

LEAST_SCALE = 1e-9  # of F(0) − floor: a gap is relative to at least this, since F(w) may reach the floor
TINY = 1e-300  # avoids a division by 0 where F(0) is the floor


def label_statistics(objective: Objective, channel: Channel) -> LabelStatistics:
    """Collect what a bound on the intercept needs to know; collective, one pass over the rows, two exchanges."""
    shard, features = objective.shard, objective.shard.features
    s, y = shard.weight / shard.total, shard.label
    ones = np.zeros(objective.width)
    ones[:features] = 1.0
    row = float(np.sqrt(objective.row_norms(ones).max(initial=0.0)))
    largest, row = (float(v) for v in channel.max(np.array([np.abs(y).max(initial=0.0), row])))
    shares = _class_shares(objective, s)
    row_sum = objective.row_sum(s) if shard.intercept else np.empty(0)
    sums = channel.sum(float((s * objective.loss.lowest(y)).sum()), float((s * y).sum()), shares, row_sum)
    floor, mean = sums[:2]
    rarest = float(sums[2 : 2 + len(shares)].min(initial=np.inf))
    mean_row = float(np.linalg.norm(sums[2 + len(shares) :][:features]))
    return LabelStatistics(float(floor), largest, float(mean), rarest, row, mean_row)


def _class_shares(objective: Objective, s: Vector) -> Vector:
    """Return this rank's part of the weight of each class; an empty array if the labels are not classes."""
    y = objective.shard.label
    if objective.loss.target == "binary":
        return np.array([s[y < 0].sum(), s[y > 0].sum()])
    if objective.loss.target == "multiclass":
        return np.bincount(y.astype(np.int64), s, objective.outputs).astype(np.float64)
    return np.empty(0)


class Certificate(NamedTuple):
    """An upper bound on how far a model is from the optimum; training stops when it is below the tolerance.

    Attributes
    ----------
    kind : str
        "duality gap" or "gradient norm".
    value : float
        The gap relative to F(w) − floor, or the norm of the prox-gradient map relative to that at the model 0.
    """

    kind: str
    value: float


def certify(
    objective: Objective, w: Model, exact: Evaluation, start: Evaluation, labels: LabelStatistics | None = None
) -> Certificate:
    """Compute the certificate of a model, without communication.

    Parameters
    ----------
    objective : Objective
        This rank's share; loss, penalty and the columns in use are read.
    w : ndarray, shape (outputs, width)
        The model.
    exact, start : Evaluation
        The objective at `w` and at the model 0.
    labels : LabelStatistics, optional
        What `label_statistics` returned. Without it there is a gap only if every column has an l2.

    Returns
    -------
    Certificate
        A duality gap if the optimum is known to be bounded, else a gradient norm.
    """
    floor = labels.floor if labels is not None else 0.0
    gap = _gap(objective, w, exact, labels)
    if np.isfinite(gap):
        scale = max(exact.value - floor, LEAST_SCALE * (start.value - floor), TINY)
        return Certificate("duality gap", gap / scale)
    norm, first = (np.linalg.norm(prox_gradient(objective, m, e)) for m, e in ((w, exact), (np.zeros_like(w), start)))
    return Certificate("gradient norm", float((norm + exact.error) / first) if first > 0.0 else 0.0)


def _gap(objective: Objective, w: Model, exact: Evaluation, labels: LabelStatistics | None) -> float:
    """Compute the gap; inf if nothing bounds the optimum."""
    d, v, (l1, l2) = objective.shard.features, -exact.gradient, objective.penalty.strengths
    if objective.shard.intercept and labels is None:
        return np.inf
    above = exact.value - (labels.floor if labels is not None else 0.0)
    if l2 > 0.0:
        size = float(np.sqrt(2.0 * above / l2))
        gap = duality_gap(w[:, :d], v[:, :d], objective.threshold[:d], objective.ridge[:d], exact.error)
    elif l1 > 0.0 and labels is not None:
        size = above / l1
        outside = max(float(np.abs(v[:, :d]).max(initial=0.0)) - l1, 0.0)
        gap = float((l1 * np.abs(w[:, :d]) - v[:, :d] * w[:, :d]).sum()) + size * outside
        gap += exact.error * (float(np.linalg.norm(w[:, :d])) + size)
    else:
        return np.inf
    if labels is None or not objective.shard.intercept:
        return gap
    b = w[:, d] - (w[:, d].mean() if objective.outputs > 1 else 0.0)
    distance = np.abs(b) + objective.loss.intercept_bound(labels, above, size)
    return gap + float((np.abs(v[:, d]) * distance).sum()) + exact.error * float(np.linalg.norm(distance))


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
    u = np.sign(v) * np.maximum(np.abs(v) - l1, 0.0) / l2
    rest = v - l2 * u  # |rest| <= l1, so that l1|w| - rest w >= 0
    gap = float((0.5 * l2 * (w - u) ** 2 + np.maximum(l1 * np.abs(w) - rest * w, 0.0)).sum())
    return gap if error == 0.0 else gap + error * (float(np.linalg.norm(u - w)) + 0.5 * error / float(l2.min()))


def prox_gradient(objective: Objective, w: Model, exact: Evaluation) -> Model:
    """Compute w − prox_h(w − ∇loss(w)), zero exactly at the optimum; the gradient of F if h is smooth."""
    gradient = exact.gradient + objective.ridge * w
    if not objective.threshold.any():
        return np.asarray(gradient)
    at = w - gradient
    return np.asarray(w - np.sign(at) * np.maximum(np.abs(at) - objective.threshold, 0.0))
