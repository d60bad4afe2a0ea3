"""Without a penalty nothing bounds the optimum. The Newton decrement says how far F is from it, to first order.

With g the gradient and H the curvature at w, F(w) − F* is ½ gᵀH⁻¹g plus terms of third order (S. Boyd, L.
Vandenberghe, Convex Optimization (2004), section 9.5). The number has the units of F and none of the columns.

H is factored where it is small. Elsewhere H⁻¹g is found by conjugate gradients: each step adds its gain to the number
(M. R. Hestenes, E. Stiefel 1952, section 6), and the last gains show what is missing (Z. Strakoš, P. Tichý, ETNA 13
(2002)).

If the loss falls for ever along a direction there is no optimum: separable classes (A. Albert, J. A. Anderson,
Biometrika 71 (1984)), counts that are zero wherever a column is not. There Newton steps do not become shorter: each
moves some margin by about 1. So where H is small but the step is not, F is computed far out along the step.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective import decrement_by_root
from mpiopt.objective.curvature import curvature, used_columns
from mpiopt.objective.curvature_root import is_exchangeable
from mpiopt.objective.duality_gap import steepest
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Model, Objective
from mpiopt.objective.row_hessians import RowHessians

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LARGEST_HESSIAN = 2000  # unknowns: its eigenvalues take some seconds
EPOCHS = 2.0  # the curvature, and the margins along the step
PRODUCTS = 200  # of the Hessian at most: with more the decrement would cost as much as a run
LAST_GAINS = 8  # whose sum estimates what is still to be gained
SETTLED = 0.05  # part of the decrement that may still be gained
LEAST_EIGENVALUE = 1e-15  # for each unknown, with a unit diagonal: smaller ones are rounding
MOST_FLAT = 16  # directions without curvature that are looked at, the steepest ones
FLATTEST = (64.0 * float(np.finfo(np.float64).eps)) ** 2  # curvature for each unknown: less is rounding of the rows
OUTSIDE = 1e-9  # part of the gradient at columns without curvature: more is not rounding
SOME_MOVE = 0.01  # of a margin: far out, where the curvature is nearly lost, a step that falls for ever has some part
LONG_MOVE = 0.3  # of a margin: a Newton step near an optimum moves none so far
NEAR_MOVE = 1.0  # of a margin: with a longer step the curvature changes by more than a factor e on the way
CONTRACTION = 0.25  # largest ratio of two successive decrements that can be believed; e⁻¹ where F falls for ever
FLAT = 1e-16  # of F: a decrement below is less than the rounding of F
STEPS = 4  # Newton steps that are long one after another: near an optimum they shrink quadratically
FAR_OUT = (4.0, 16.0, 64.0, 1024.0, 65536.0)  # Newton steps: F rises on the way if there is an optimum
ROUNDING = 4.0 * float(np.finfo(np.float64).eps)  # of F: a rise by less is rounding


class Decrement(NamedTuple):
    """How far a model is from the optimum by the curvature there; equal on all ranks.

    Attributes
    ----------
    value : float
        ½ gᵀH⁻¹g, in units of F; inf if H does not determine it.
    unbounded : bool
        Whether F keeps falling along the Newton step: no optimum exists.
    step : ndarray, shape (outputs, width)
        The Newton step −H⁻¹g.
    noise : ndarray, shape (outputs, width)
        Square roots of the diagonal of H⁻¹, by which an error of the gradient enters the decrement.
    move : float
        By how much the step moves the margin of a row at most; 0 for real targets, whose losses have no such scale.
    epochs : float
        What it cost.
    signs : ndarray, shape (outputs, width)
        Those of the weights, or of their steps from 0: with them l1 is linear.
    lost : bool
        Whether the curvature along some direction is rounding, or 0 for a column, so that the step has no part there.
    by_root : bool
        Whether the rows were to be factored in place of H.
    flat : float
        The part of the value along directions without curvature, which the step leaves.
    """

    value: float
    unbounded: bool
    step: Model
    noise: Model
    move: float = np.inf
    epochs: float = EPOCHS
    signs: Model = np.zeros((0, 0))
    lost: bool = False
    by_root: bool = False
    flat: float = 0.0

    @property
    def may_recede(self) -> bool:
        """Whether the loss may fall for ever along some direction: the step moves a margin, or rounding hides it."""
        return self.lost or self.move >= SOME_MOVE

    @property
    def is_near(self) -> bool:
        """Whether the step is so short that its square measures the distance."""
        return bool(np.isfinite(self.value)) and self.move <= NEAR_MOVE


def is_measurable(objective: Objective) -> bool:
    """Return whether the Hessian of the loss is known (one output, or softmax), and no bounds end a step."""
    free = objective.bounds is None and objective.groups is None
    return free and (objective.outputs == 1 or objective.loss.name == "softmax")


def decrement(objective: Objective, w: Model, gradient: Model, channel: Channel, by_root: bool = False) -> Decrement:
    """Compute the Newton decrement; collective.

    With l1 it is that of the unknowns that are not 0 or that the gradient moves away from 0: near the optimum the
    others stay 0, and l1 is linear in these.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective; its Hessian must be known (`is_measurable`).
    w, gradient : ndarray, shape (outputs, width)
        The model, and the gradient of the loss part there.
    channel : Channel
        The ranks.
    by_root : bool
        Whether to factor the rows in place of H, where that is possible: for twice the price of H it knows
        directions that H has lost. Far columns without an intercept are always factored so.

    Returns
    -------
    Decrement
        The same bits on all ranks.
    """
    newton = _newton_step(objective, w, gradient, channel, by_root)
    if not np.isfinite(newton.value):
        return Decrement(np.inf, False, newton.step, newton.noise, epochs=newton.epochs)
    move = 0.0 if objective.loss.target == "real" else _longest_move(objective, newton.step, channel)
    with np.errstate(over="ignore", invalid="ignore"):  # nothing need be finite after some long steps
        unbounded = move >= LONG_MOVE and _falls_for_ever(objective, w, newton.step, channel)
    value, step, noise, epochs, signs, lost, flat = newton
    return Decrement(value, unbounded, step, noise, move, epochs, signs, lost, by_root, flat)


class Contraction(NamedTuple):
    """What a Newton step left of a decrement; equal on all ranks."""

    believed: bool  # whether the decrement measures the distance to the optimum
    distance: float  # in units of F: the decrement, or what F falls by along the step and the decrement after it
    epochs: float
    exact: Evaluation  # after the step
    left: float  # the decrement there


def contraction(
    objective: Objective, w: Model, exact: Evaluation, found: Decrement, scale: float, channel: Channel, noise: float
) -> Contraction:
    """Take the Newton step, and return whether a decrement can be believed, and how far the optimum is; collective.

    The decrement is the distance to first order, and may be too small: the larger of two distances counts. Where
    columns lie far from 0 it is the decrement, since the last bits of the step move F by more.

    After the Newton step the decrement must be much smaller. It is not where the curvature changes on the way, as at
    the knee of Huber's loss, or where no optimum exists. A weight whose sign changes keeps its line of l1, which lies
    below the penalty. What F has along directions without curvature counts neither before nor after: the step leaves
    it. `scale` is what a decrement is compared with, `noise` what rounding alone makes of it.
    """
    if (objective.loss.quadratic and not objective.threshold.any()) or found.value <= FLAT * scale:
        return Contraction(True, found.value, 0.0, exact, found.value)
    there = w + found.step
    with np.errstate(over="ignore", invalid="ignore"):  # a step that is too long: nothing is finite there
        moved = evaluate_exact(objective, there, channel)
        z = None if objective.shard.far is None else objective.predict(w) + objective.predict(found.step)
        after = _newton_step(objective, there, moved.gradient, channel, found.by_root, found.signs, z)
        lowered = float((objective.threshold * (np.abs(there) - found.signs * there)).sum())
    left, before = after.value - after.flat, found.value - found.flat
    believed = left <= max(CONTRACTION * before, noise)
    distance = found.value
    if believed and objective.shard.far is None:
        fall = exact.value - (moved.value - lowered) - ROUNDING * abs(exact.value)
        distance = max(distance, fall + left + found.flat)
    return Contraction(believed, distance, 1.0 + after.epochs, moved, after.value)


class _Newton(NamedTuple):
    """A Newton step, the same bits on all ranks."""

    value: float  # ½ gᵀH⁻¹g; inf if H does not determine it
    step: Model
    noise: Model  # √diag H⁻¹; 0 where it is not known
    epochs: float
    signs: Model = np.zeros((0, 0))
    lost: bool = False  # whether the curvature along some direction is rounding, or 0 for a column
    flat: float = 0.0  # the part of the value along such directions


def _newton_step(
    objective: Objective,
    w: Model,
    gradient: Model,
    channel: Channel,
    by_root: bool = False,
    held: Model | None = None,
    z: Matrix | None = None,
) -> _Newton:
    """Return the Newton step; collective.

    `held` are signs of l1 that stay though the weights have others; `z` are margins that the rounding of w has not
    moved.
    """
    signs = np.where(w != 0.0, np.sign(w), -np.sign(steepest(objective, w, gradient)))
    if held is not None:
        signs = np.where(held != 0.0, held, signs)
    moving = ((signs != 0.0) | (objective.threshold == 0.0)) & (np.arange(objective.width) < used_columns(objective))
    slope = objective.ridge * w + objective.threshold * signs
    if (by_root or objective.shard.far is not None) and is_exchangeable(objective, channel.size):
        z = objective.predict(w) if z is None else z
        found = decrement_by_root.newton_step(objective, w, z, slope, moving, channel)
        return _Newton(found.value, found.step, found.noise, EPOCHS, signs, found.lost, found.flat)
    g = np.where(moving, gradient + slope, 0.0)
    if objective.outputs * used_columns(objective) <= LARGEST_HESSIAN:
        return _factored(objective, w, g, moving, channel)._replace(signs=signs)
    return _by_products(objective, w, g, moving, channel)._replace(signs=signs)


def _factored(objective: Objective, w: Model, g: Model, moving: NDArray[np.bool_], channel: Channel) -> _Newton:
    """Solve with the whole Hessian; collective."""
    d = used_columns(objective)
    h, ridge = curvature(objective, w, channel), np.tile(objective.ridge[:d], len(w))
    used = moving[:, :d].reshape(-1)
    h = h * used * used[:, None]
    found, solved = np.zeros((2, *w.shape)), None
    if channel.rank == 0 and np.isfinite(h).all() and np.isfinite(g).all():  # all ranks take rank 0's answer
        with np.errstate(over="ignore", invalid="ignore"), suppress(np.linalg.LinAlgError):  # of numbers too unlike
            solved = _solve(h, g[:, :d].reshape(-1), ridge)
    if solved is not None and np.isfinite(solved.step).all() and np.isfinite(solved.square):
        found[:, :, :d] = np.stack([solved.step, solved.noise]).reshape(2, len(w), d)
    else:
        solved = None
    flat = 0.0 if solved is None else float(min(solved.flat.shape[1], MOST_FLAT))
    total = channel.sum(found, 0.0 if solved is None else 0.5 * solved.square, float(solved is not None), flat)
    (step, noise), (value, solvable, count) = total[:-3].reshape(2, *w.shape), total[-3:].tolist()
    if not solvable:
        return _Newton(np.inf, step, noise, EPOCHS)
    if count:
        shared = np.zeros((int(count), len(w), objective.width)), np.zeros(int(count))
        if solved is not None:
            steepest_first = np.argsort(-np.abs(solved.slopes), kind="stable")[: int(count)]
            shared[0][:, :, :d] = solved.flat.T[steepest_first].reshape(-1, len(w), d)
            shared[1][:] = solved.slopes[steepest_first]
        parts = channel.sum(*shared)
        directions, slopes = parts[: shared[0].size].reshape(shared[0].shape), parts[shared[0].size :]
        value += _along_flat(objective, w, directions, slopes, channel)
    bare = bool((np.diag(h)[used] <= 0.0).any())  # so far out, exp of a margin is 0
    return _Newton(value, step, noise, EPOCHS + 0.5 * count, lost=count > 0 or bare)


def _along_flat(objective: Objective, w: Model, directions: Model, slopes: Vector, channel: Channel) -> float:
    """Return what the decrement has along directions whose curvature is below the rounding of H; collective.

    The products of the rows with a direction lose half as many digits as H. So they tell columns that depend on each
    other exactly, which move no margin, from columns that do so nearly. `directions` have the length 1 in units in
    which the diagonal of H is 1.
    """
    hessians = RowHessians.at(objective, objective.predict(w))
    moves = [objective.predict(direction) for direction in directions]
    own = np.array([[hessians.form(one, other) for other in moves] for one in moves])
    small = channel.sum(own / objective.shard.total).reshape(own.shape)
    small += np.einsum("acj,bcj->ab", directions * objective.ridge, directions)
    values, vectors = np.linalg.eigh(0.5 * (small + small.T))
    bent = values > FLATTEST * directions[0].size
    squares = (vectors.T @ slopes)[bent] ** 2 / values[bent]
    return float(channel.of_root(0.5 * squares.sum())[0])


def _by_products(objective: Objective, w: Model, g: Model, moving: NDArray[np.bool_], channel: Channel) -> _Newton:
    """Solve by conjugate gradients, preconditioned by the diagonal of the Hessian; collective.

    What decides about the end comes from exchanges, so all ranks decide alike.
    """
    hessians = RowHessians.at(objective, objective.predict(w))
    diagonal = channel.sum(hessians.diagonal()).reshape(w.shape) + objective.ridge
    inverse = np.divide(1.0, diagonal, out=np.zeros_like(w), where=(diagonal > 0.0) & moving)
    step, noise, epochs = np.zeros_like(w), np.zeros_like(w), 2.0
    if np.abs(g[moving & (diagonal <= 0.0)]).max(initial=0.0) > OUTSIDE * np.abs(g).max(initial=0.0):
        return _Newton(np.inf, step, noise, epochs)
    r = np.where(moving, -g, 0.0)
    q = inverse * r
    rz, gains = float(channel.of_root((r * q).sum())[0]), [0.0]
    for _ in range(PRODUCTS):
        if not rz > 0.0:
            break
        share = hessians.product(q).share + (objective.ridge * q if channel.rank == 0 else 0.0)
        epochs += 1.0
        total = channel.sum(share, float((share * q).sum()))
        hq, bend = np.where(moving, total[:-1].reshape(w.shape), 0.0), float(total[-1])
        if not bend > 0.0:
            return _Newton(np.inf, step, noise, epochs)
        length = rz / bend
        step, r = step + length * q, r - length * hq
        gains.append(length * rz)
        before, rz = rz, float(channel.of_root((r * inverse * r).sum())[0])
        q = inverse * r + (rz / before) * q
        if len(gains) > LAST_GAINS and sum(gains[-LAST_GAINS:]) <= SETTLED * sum(gains):
            break
    else:
        return _Newton(np.inf, step, noise, epochs)
    step = channel.of_root(step).reshape(w.shape)
    return _Newton(0.5 * sum(gains) * (1.0 + SETTLED), step, noise, epochs)


class _Solved(NamedTuple):
    """The Newton step and what is measured by it."""

    step: Vector  # −H⁻¹g
    noise: Vector  # √diag H⁻¹
    square: float  # gᵀH⁻¹g
    flat: Matrix  # (unknowns, k) directions along which there is no curvature but rounding
    slopes: Vector  # (k,) of F along them


def _solve(h: Matrix, g: Vector, ridge: Vector) -> _Solved | None:
    """Solve in units in which the diagonal of H is 1; None if a column has a slope but no curvature."""
    diagonal = np.maximum(np.diag(h), 0.0)
    used = diagonal > 0.0
    step, noise, flat = np.zeros_like(g), np.zeros_like(g), np.zeros((len(g), 0))
    if not used.any():
        return None if g.any() else _Solved(step, noise, 0.0, flat, np.zeros(0))
    size = np.sqrt(diagonal[used])
    scaled, unit = g[used] / size, h[np.ix_(used, used)] / size / size[:, None]
    if float(np.abs(g[~used]).max(initial=0.0)) > OUTSIDE * float(np.abs(g).max()):
        return None
    directions = _directions(unit, ridge[used] / diagonal[used])
    parts = directions.vectors.T @ scaled
    root = (directions.vectors / np.sqrt(directions.values)).T
    step[used] = -(root.T @ (root @ scaled)) / size
    noise[used] = np.sqrt((root**2).sum(axis=0)) / size
    flat = np.zeros((len(g), int(np.count_nonzero(~directions.known))))
    flat[used] = directions.vectors[:, ~directions.known] / size[:, None]
    square = float((parts**2 / directions.values).sum())
    return _Solved(step, noise, square, flat, parts[~directions.known])


class _Directions(NamedTuple):
    """The eigenvectors of a matrix with unit diagonal, as columns, with eigenvalues that are not too large."""

    vectors: Matrix
    values: Vector
    known: NDArray[np.bool_]  # whether the eigenvalue is more than rounding


def _directions(unit: Matrix, ridge: Vector) -> _Directions:
    """Return the eigenvectors; an eigenvalue that is rounding is at least what the ridge adds along its vector.

    Where columns depend on each other there is no curvature along a direction. The gradient there is rounding, too;
    if it is more, nothing is known of the distance to the optimum.
    """
    values, vectors = np.linalg.eigh(0.5 * (unit + unit.T))
    least = LEAST_EIGENVALUE * len(values)
    values = np.maximum(values, ridge @ vectors**2)
    known = (values >= least) | (ridge @ vectors**2 > 0.0)
    return _Directions(vectors, np.where(known, values, least), known)


def _falls_for_ever(objective: Objective, w: Model, step: Model, channel: Channel) -> bool:
    """Return whether F falls for ever along the Newton step, if that is long; collective.

    Some Newton steps more bring all columns to rest that have an optimum. Where the steps stay long nevertheless, F
    is computed far out along the last one.
    """
    value = float(np.finfo(np.float64).max)
    for _ in range(STEPS):
        if _longest_move(objective, step, channel) < LONG_MOVE:
            return False
        w = w + step
        exact = evaluate_exact(objective, w, channel)
        if not exact.value <= value + ROUNDING * abs(value):
            return False
        value = exact.value
        step = _newton_step(objective, w, exact.gradient, channel).step
    shard, used = objective.shard, objective.shard.weight > 0.0
    z, move, y = objective.predict(w)[used], objective.predict(step)[used], shard.label[used]
    s = shard.weight[used] / shard.total
    with np.errstate(over="ignore"):
        own = [float(s @ objective.loss.value(z + t * move, y)) for t in (0.0, *FAR_OUT)]
    values = channel.sum(np.array(own))
    return bool((np.diff(values) <= ROUNDING * np.abs(values[0])).all())


def _longest_move(objective: Objective, step: Model, channel: Channel) -> float:
    """Return by how much a step moves the margin of a row at most, apart from what all outputs share; collective."""
    move = objective.predict(step)[objective.shard.weight > 0.0]
    if objective.outputs > 1:
        move = move - move.mean(axis=1, keepdims=True)
    return float(channel.max(np.abs(move).max(initial=0.0))[0])
