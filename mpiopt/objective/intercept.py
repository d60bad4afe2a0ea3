"""Minimise the loss over the constants b alone: a convex problem in one number for each output.

Only the margins are needed, so an iteration costs a pass over n numbers and an exchange of a few, not a pass over the
columns. With one output it is Newton's method kept inside a bracket (W. H. Press et al., Numerical Recipes, section
9.4); with several it is Newton's method with backtracking, or iterative proportional fitting where their square is
too large.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.data.offsets import largest_offset
from mpiopt.objective.losses.base import Loss, class_complements, class_probabilities
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

ITERATIONS = 200  # at most; a bisection of all float64 numbers takes fewer
EXACT = 4.0 * np.finfo(np.float64).eps  # slopes that cancel up to this part of their sizes cancel exactly
LAST_GAIN = 64.0 * np.finfo(np.float64).eps  # of loss and margins: a Newton step that gains less is the last one
GROWTH = 4.0  # factor on the width of the search until a minimum is enclosed
LARGEST_SHIFT = 60.0  # of a margin of classes or counts: exp(-60) is below the rounding of 1
MOST_OUTPUTS = 64  # for Newton's method: its matrix has the square of that
HALVINGS = 30  # of a Newton step at most


def minimise_intercept(loss: Loss, z: Matrix, y: Vector, s: Vector, channel: Channel) -> Vector:
    """Find δ that minimises Σ s_i loss(z_i + δ, y_i) over the rows of all ranks; collective.

    Parameters
    ----------
    loss : Loss
        The loss.
    z : ndarray, shape (n, outputs)
        Margins of this rank's rows.
    y, s : ndarray, shape (n,)
        Labels and weights of this rank's rows.
    channel : Channel
        The ranks.

    Returns
    -------
    ndarray, shape (outputs,)
        δ, the same bits on all ranks. If the loss falls for ever, as with a class without weight, a δ far out.
    """
    if z.shape[1] == 1:
        return np.array([_one_output(loss, z, y, s, channel)])
    found = _newton(loss, z, y, s, channel) if z.shape[1] <= MOST_OUTPUTS else _fitting(loss, z, y, s, channel)
    return channel.of_root(found)


def _one_output(loss: Loss, z: Matrix, y: Vector, s: Vector, channel: Channel) -> float:
    """Return δ of one output."""
    low, high, at, width, before = -np.inf, np.inf, 0.0, 1.0, np.inf
    furthest = np.inf if loss.target == "real" else LARGEST_SHIFT
    if y.ndim == 2:  # there are offsets
        furthest += float(channel.max(largest_offset(y))[0])
    for _ in range(ITERATIONS):
        slope, bend, size = _derivatives(loss, z, y, s, at, channel)
        if abs(slope) <= EXACT * size:
            break
        low, high = (low, at) if not slope < 0.0 else (at, high)
        newton = at - slope / bend if bend > 0.0 and np.isfinite(bend) else np.nan
        enclosed = bool(np.isfinite(low) and np.isfinite(high))
        if low < newton < high and abs(newton - at) <= (0.5 * before if enclosed else max(width, _trust(loss))):
            new = newton
        elif enclosed:
            new = 0.5 * (low + high)
        else:
            new = at - np.copysign(width, slope)
            width *= GROWTH
        new = float(np.clip(new, -furthest, furthest))
        if new == at:
            break
        before, at = abs(new - at), new
    return at


def _trust(loss: Loss) -> float:
    """Return how long a Newton step may be before a minimum is enclosed: any length for a parabola, else 1."""
    return np.inf if loss.quadratic else 1.0


def _derivatives(
    loss: Loss, z: Matrix, y: Vector, s: Vector, at: float, channel: Channel
) -> tuple[float, float, float]:
    """Return the first and second derivative by δ, and the sum of the slopes' sizes; collective."""
    moved = z + at
    with np.errstate(over="ignore", invalid="ignore"):
        slopes = loss.slope(moved, y)[:, 0] * s
        bends = loss.curvature(moved, y) * s
        own = slopes.sum(), bends.sum(), np.abs(slopes).sum()
    slope, bend, size = channel.sum(*own).tolist()
    if np.isfinite(slope):
        return slope, bend, size
    return (np.inf if np.isnan(slope) else slope), 0.0, 1.0


def _newton(loss: Loss, z: Matrix, y: Vector, s: Vector, channel: Channel) -> Vector:
    """Return δ of several outputs whose slopes are probabilities minus indicators (softmax)."""
    outputs = z.shape[1]
    at, value = np.zeros(outputs), np.inf
    for _ in range(ITERATIONS):
        slopes = loss.slope(z + at, y)
        p = class_probabilities(slopes, y)
        weighted = slopes * s[:, None]
        curvature = -(p * s[:, None]).T @ p
        np.fill_diagonal(curvature, (p * class_complements(slopes, y)).T @ s)
        values = [float(s @ loss.value(z + at, y)), float(s @ np.abs(z + at).max(axis=1))]
        total = channel.sum(weighted.sum(axis=0), np.abs(weighted).sum(axis=0), np.array(values), curvature)
        slope, size, (value, margin) = np.split(total[: 2 * outputs + 2], [outputs, 2 * outputs])
        if np.all(np.abs(slope) <= EXACT * size):
            break
        bend = total[2 + 2 * outputs :].reshape(outputs, outputs)
        floor = np.finfo(np.float64).eps * np.trace(bend) + np.finfo(np.float64).tiny
        step = -np.linalg.solve(bend + np.trace(bend) / outputs**2 + floor * np.eye(outputs), slope)
        step = np.clip(step - step.mean(), -1.0, 1.0)
        rounding = LAST_GAIN * (abs(float(value)) + float(margin))
        if -float(slope @ step) <= rounding:  # such a gain cannot be seen in values
            at = at + step
            break
        t = _backtrack(loss, z, y, s, at, step, float(value), float(slope @ step), channel)
        if t == 0.0 or np.abs(at).max() > LARGEST_SHIFT:
            break
        at = at + t * step
    return at


def _backtrack(
    loss: Loss,
    z: Matrix,
    y: Vector,
    s: Vector,
    at: Vector,
    step: Vector,
    value: float,
    slope: float,
    channel: Channel,
) -> float:
    """Return the first of 1, ½, ¼ … at which the loss does not rise; 0 if there is none; collective."""
    t = 1.0
    for _ in range(HALVINGS):
        new = float(channel.sum(float(s @ loss.value(z + at + t * step, y)))[0])
        if new <= value + 0.1 * t * slope:
            return t
        t *= 0.5
    return 0.0


def _fitting(loss: Loss, z: Matrix, y: Vector, s: Vector, channel: Channel) -> Vector:
    """Return δ of many outputs by iterative proportional fitting: the loss falls in each iteration."""
    at = np.zeros(z.shape[1])
    for _ in range(ITERATIONS // 4):
        slopes = loss.slope(z + at, y)
        p = class_probabilities(slopes, y)
        predicted, slope = np.split(channel.sum(p.T @ s, (slopes * s[:, None]).sum(axis=0)), 2)
        shares = predicted - slope  # of the labels
        if np.all(np.abs(slope) <= EXACT * predicted):
            break
        ratio = np.divide(shares, predicted, out=np.ones_like(shares), where=(predicted > 0.0) & (shares > 0.0))
        at = np.clip(at + np.log(ratio), -LARGEST_SHIFT, LARGEST_SHIFT)
    return np.asarray(at - at.mean())


def with_best_constants(objective: Objective, channel: Channel) -> Objective:
    """Return the objective whose origin has the constants that are best without any feature; collective."""
    shard = objective.shard
    if not shard.intercept:
        return objective
    z = np.zeros((len(shard), objective.outputs))
    return replace(
        objective, constants=minimise_intercept(objective.loss, z, shard.label, shard.weight / shard.total, channel)
    )
