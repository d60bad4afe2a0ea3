"""A proof that no optimum exists: a direction along which no row's loss rises, and that of some falls for ever.

Far out, rows whose loss has almost reached its infimum hardly bend F, and rounding hides what they do. So Newton
steps and F itself say little. The rows that have not reached it must keep their margins. Among the directions that
move none of these, the null space of their rows by QR, the others form a homogeneous system a_i·q >= 0. It has a
solution with a_i·q > 0 for some i unless positive numbers λ_i have Σ λ_i a_i = 0 (E. Stiemke 1915). Nonnegative least
squares finds the one or the other (C. Lawson, R. Hanson, Solving Least Squares Problems (1995), chapter 23).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.data.offsets import labels_of
from mpiopt.objective import passes
from mpiopt.objective.centred_columns import CentredColumns
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.curvature_root import LARGEST_EXCHANGE, LARGEST_ROWS, root_of_rows
from mpiopt.objective.losses.base import class_probabilities
from mpiopt.objective.objective import Model, Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

EPOCHS = 2.0  # the margins, and a factor of the rows
FAR_MARGIN = 700.0  # at which a loss that falls for ever has reached its infimum; exp of it is finite
REACHED = 1e-20  # above its infimum: a loss has reached it
NEARLY = 1e-6  # of F: a row that is above its infimum by less may be one of those that fall for ever
SHARE = 100.0  # times the decrement: rows above their infimum by more, in F, keep their margins
ZERO = 1e-10  # of the sum of its terms' sizes: a product with a row that is smaller is 0
LEAST_GAIN = 1e-12  # for rows of length 1: a smaller one is rounding
REPEATS = 4  # for each unknown: steps of the least squares at most
INSIDE = 1e-9  # of the mean row: what is left of it where there is no direction


class _Rows(NamedTuple):
    """Rows a_i of this rank, one for each way in which the loss of a row can fall for ever: along it a_i·p > 0."""

    a: Matrix  # (k, unknowns)
    rest: Vector  # (k,) what F can still lose there; inf where the loss of the row has a least value


def is_conceivable(objective: Objective, w: Model, value: float, channel: Channel) -> bool:
    """Return whether some row has almost reached an infimum that it never attains; collective, margins of a pass."""
    least = _rest(objective, objective.predict(w)).min(initial=np.inf) * objective.shard.total
    return bool(-channel.max(-least)[0] <= NEARLY * abs(value))


def direction(objective: Objective, w: Model, small: float, channel: Channel) -> Model | None:
    """Return a direction along which no optimum exists, shape (outputs, width); None if none was found; collective.

    Parameters
    ----------
    objective : Objective
        This rank's share of an objective without a penalty: one output, or softmax.
    w : ndarray, shape (outputs, width)
        A model near the infimum.
    small : float
        How far, by the decrement, in units of F.
    channel : Channel
        The ranks.
    """
    d, size = used_columns(objective), channel.size
    unknowns = objective.outputs * d
    most = float(channel.max(float(len(objective.shard) * max(1, objective.outputs - 1)))[0])
    if size * unknowns**2 > LARGEST_EXCHANGE or most * unknowns > LARGEST_ROWS:
        return None
    far = np.zeros(d) if objective.shard.far is None else objective.shard.far
    centred = CentredColumns(far)
    rows = _rows(objective, w, centred)
    free = rows.rest <= SHARE * small
    null = _null_space(rows.a[~free], channel)
    moves, sizes = rows.a @ null.T, np.abs(rows.a) @ np.abs(null.T)
    moves = np.where(np.abs(moves) > ZERO * sizes, moves, 0.0)
    largest = channel.max(np.append(np.abs(moves[free]).max(axis=0, initial=0.0), 0.0))[:-1]
    moved = largest > 0.0
    null, moves = null[moved] / largest[moved, None], moves[:, moved] / largest[moved]
    counts = channel.sum(np.eye(size)[channel.rank] * np.count_nonzero(free))
    if not len(null) or counts.sum() * len(null) > LARGEST_EXCHANGE:
        return None
    every, before = np.zeros((int(counts.sum()), len(null))), int(counts[: channel.rank].sum())
    every[before : before + int(counts[channel.rank])] = moves[free]
    q = channel.of_root(_upward(channel.sum(every).reshape(every.shape)))
    if not q.any():
        return None
    p = null.T @ q
    move, scale = rows.a @ p, np.abs(rows.a) @ np.abs(p)
    wrong = np.where(free, -move, np.abs(move)) > ZERO * scale
    right = free & (move > ZERO * scale)
    if channel.max(float(wrong.any()))[0] or not channel.max(float(right.any()))[0]:
        return None
    found = objective.zeros()
    p = p.reshape(objective.outputs, d)
    p = p - p.mean(axis=0) if objective.outputs > 1 else p  # what all outputs share moves nothing
    found[:, :d] = [centred.weights(part) for part in p]
    return found


def _rest(objective: Objective, z: Matrix) -> Matrix:
    """Return what F can still lose by each row for ever, (n, 1), softmax: by each class that is not the row's.

    inf where the loss attains its least value, for the row's own class, and for rows without weight.
    """
    shard, loss = objective.shard, objective.loss
    s = np.where(shard.weight > 0.0, shard.weight / shard.total, np.inf)
    if objective.outputs > 1:
        p = class_probabilities(loss.slope(z, shard.label), shard.label)
        p[np.arange(len(p)), labels_of(shard.label).astype(np.int64)] = np.inf
        return np.where(np.isfinite(s)[:, None], np.maximum(p, 1e-300) * s[:, None], np.inf)
    least = loss.lowest(shard.label)
    signs = _signs(objective)
    ends = (loss.value(FAR_MARGIN * signs[:, None], shard.label) - least <= REACHED) & (signs != 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        rest = s * np.maximum(loss.value(z, shard.label) - least, loss.curvature(z, shard.label))
    return np.where(ends & np.isfinite(s), rest, np.inf)[:, None]


def _signs(objective: Objective) -> Vector:
    """Return the direction in which the loss of each row falls at the margin 0, as -1, 0 or 1."""
    shard = objective.shard
    return -np.sign(objective.loss.slope(np.zeros((len(shard), 1)), shard.label)[:, 0])


def _rows(objective: Objective, w: Model, centred: CentredColumns) -> _Rows:
    """Return the rows of this rank that have weight, in the unknowns of centred columns."""
    shard, outputs = objective.shard, objective.outputs
    used = shard.weight > 0.0
    x = centred.rows(passes.dense_block(objective.distances, slice(0, len(shard)), used_columns(objective)))
    rest = _rest(objective, objective.predict(w))
    if outputs == 1:
        signs = np.where(np.isfinite(rest[:, 0]), _signs(objective), 1.0)
        return _Rows((x * signs[:, None])[used], rest[used, 0])
    own = labels_of(shard.label).astype(np.int64)
    a, left = [], []
    for c in range(outputs):
        i = np.flatnonzero(used & (own != c))
        part = np.zeros((len(i), outputs, x.shape[1]))
        part[np.arange(len(i)), own[i]] = x[i]
        part[:, c] = -x[i]
        a.append(part.reshape(len(i), outputs * x.shape[1]))
        left.append(rest[i, c])
    return _Rows(np.vstack(a), np.concatenate(left))


def _null_space(rows: Matrix, channel: Channel) -> Matrix:
    """Return directions, (k, unknowns), that move none of the rows of all ranks; rank 0's, on all of them."""
    d = rows.shape[1]
    root = root_of_rows(rows, np.ones(len(rows)), np.zeros(d), channel)
    null = root.vectors[~root.known] / root.size if channel.rank == 0 else np.zeros((0, d))
    count = int(channel.sum(float(len(null)))[0])
    every = np.zeros((count, d))
    every[: len(null)] = null
    return channel.sum(every).reshape(every.shape)


def _upward(a: Matrix) -> Vector:
    """Return q with A q >= 0 and not all 0, up to rounding; 0 if there is none, or if it was not found."""
    length = np.sqrt((a**2).sum(axis=1))
    a = a[length > 0.0] / length[length > 0.0, None]
    mean = a.mean(axis=0) if len(a) else np.zeros(a.shape[1])
    multiplier, active = np.zeros(len(a)), np.zeros(len(a), bool)
    for _ in range(REPEATS * (a.shape[1] + 1)):
        q = mean + multiplier @ a
        gain = np.where(active, -np.inf, -(a @ q))
        if not len(a) or gain.max() <= LEAST_GAIN:
            return q if np.abs(q).max(initial=0.0) > INSIDE * np.abs(mean).max(initial=0.0) else np.zeros_like(q)
        active[gain.argmax()] = True
        while active.any():
            best = np.zeros(len(a))
            best[active] = np.linalg.lstsq(a[active].T, -mean, rcond=None)[0]
            below = active & (best <= 0.0)
            if not below.any():
                break
            step = (multiplier[below] / np.maximum(multiplier[below] - best[below], 1e-300)).min()
            multiplier = np.maximum(multiplier + step * (best - multiplier), 0.0)
            active &= multiplier > LEAST_GAIN
            multiplier[~active] = 0.0
        multiplier = np.where(active, best, 0.0) if active.any() else multiplier
    return np.zeros(a.shape[1])
