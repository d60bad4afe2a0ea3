"""How far from 0 an optimal intercept can lie: what a certificate needs where nothing is paid for a large one.

At the optimum F* <= F(w) for any w at hand, so that ‖w*‖ <= sqrt(2 (F(w) − floor)/l2), or ‖w*‖₁ <= (F(w) − floor)/l1,
with floor a lower bound of the loss part. Then the margins without the intercept are bounded by the rows' norms, and
an intercept further out than the loss allows would cost more than F(w) on the rows of the rarest class, or on all
rows (`Loss.intercept_reach`).

A certificate that a model is near the optimum, from the exact objective and gradient there.

With v = −∇loss(w) every w has the Fenchel dual point that makes the loss part of the duality gap vanish; what is
left is the penalty's part, Σ_j h(w_j) + h*(v_j) − v_j w_j >= F(w) − F*. For h = l1|·| + (l2/2)|·|² it is

    gap_j = l1 |w_j| + (l2/2) w_j² + (|v_j| − l1)₊² / (2 l2) − v_j w_j

and for the ridge alone Σ_j |l2 w_j − v_j|²/(2 l2) = |∇F|²/(2 l2). Without l2 h* is an indicator and the gap infinite,
unless the optimum is known to lie in a bounded set, which may be added to h: with the lasso in that of
‖w*‖₁ <= r = (F(w) − floor)/l1,

    gap = Σ_j (l1 |w_j| − v_j w_j) + r max_j (|v_j| − l1)₊

and with an intercept |b*| <= R (reach.py): |v_b| (|b| + R). Without any penalty the norm of the prox-gradient map,
relative to its value at the start, is the measure. A gap is relative to F(w) − floor, floor being a lower bound of
the loss part (0 but for Poisson). Where the gradient was compressed, the bound on its error is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.objective import Objective

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


Model = NDArray[np.float64]


class Certificate(NamedTuple):
    """How far the model is from the optimum at most, relative; compared with the tolerance."""

    kind: str  # "duality gap" or "gradient norm"
    value: float


def certify(
    objective: Objective, w: Model, exact: Evaluation, start: Evaluation, labels: Labels | None = None
) -> Certificate:
    """Certify `w`; `exact` is the objective there, `start` at the model 0, `labels` what `reach.measure` gave.

    Without `labels` there is a gap only where every column has an l2.
    """
    floor = labels.floor if labels is not None else 0.0
    gap = _gap(objective, w, exact, labels)
    if np.isfinite(gap):
        scale = max(exact.value - floor, 1e-9 * (start.value - floor), 1e-300)
        return Certificate("duality gap", gap / scale)
    norm, first = (np.linalg.norm(prox_gradient(objective, m, e)) for m, e in ((w, exact), (np.zeros_like(w), start)))
    return Certificate("gradient norm", float((norm + exact.error) / first) if first > 0.0 else 0.0)


def _gap(objective: Objective, w: Model, exact: Evaluation, labels: Labels | None) -> float:
    """Give the gap, inf where nothing bounds the optimum."""
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
    reach = objective.loss.intercept_reach(labels, above, size)
    b = w[:, d] - (w[:, d].mean() if objective.outputs > 1 else 0.0)
    away = np.abs(b) + reach
    return gap + float((np.abs(v[:, d]) * away).sum()) + exact.error * float(np.linalg.norm(away))


def duality_gap(w: Model, v: Model, l1: NDArray[np.float64], l2: NDArray[np.float64], error: float = 0.0) -> float:
    """Give Σ_j h(w_j) + h*(v_j) − v_j w_j for l2 > 0; written as sums of terms that are not negative.

    With u = soft(v, l1)/l2, the minimiser of the dual's side: (l2/2)(w − u)² + l1|w| − (v − l2 u) w. The gap has the
    slope u − w in v, which is 1/l2-Lipschitz: a v that is off by `error` adds ‖u − w‖ error + error²/(2 l2) at most.
    """
    u = np.sign(v) * np.maximum(np.abs(v) - l1, 0.0) / l2
    rest = v - l2 * u  # |rest| <= l1, so that l1|w| - rest w >= 0
    gap = float((0.5 * l2 * (w - u) ** 2 + np.maximum(l1 * np.abs(w) - rest * w, 0.0)).sum())
    return gap if error == 0.0 else gap + error * (float(np.linalg.norm(u - w)) + 0.5 * error / float(l2.min()))


def prox_gradient(objective: Objective, w: Model, exact: Evaluation) -> Model:
    """Give w − prox_h(w − ∇loss(w)) in the smooth case: the gradient; zero exactly at the optimum."""
    gradient = exact.gradient + objective.ridge * w
    if not objective.threshold.any():
        return np.asarray(gradient)
    at = w - gradient
    return np.asarray(w - np.sign(at) * np.maximum(np.abs(at) - objective.threshold, 0.0))
