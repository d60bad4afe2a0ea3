"""The points of a path in groups: solved in few columns together, certified over all columns in half a pass.

A group has the points that failed the last check and the ones that come next. They are solved in a set of columns,
which are the support and those whose gradients are largest where the group starts (J. Friedman, T. Hastie, R.
Tibshirani, Regularization paths for generalized linear models, 2010; M. Massias, A. Gramfort, J. Salmon, ICML 2018).
Then one product with the transposed rows gives all columns' gradients for all points of the group, and with them each
point's duality gap. A point whose gap is too large goes into the next group, with the columns that were missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective.curvature import column_curvatures, used_columns
from mpiopt.objective.dual_points import EvaluatedModels, gaps_at
from mpiopt.objective.duality_gap import LEAST_SCALE, TINY, label_statistics
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.intercept import with_best_constants
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.objective import Objective
from mpiopt.training.path_set import ColumnSet, Point, SetSteps
from mpiopt.training.problem import penalty

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class GroupTuning:
    """Constants of the groups, found on half of the data sets (`benchmarks/paths.py`)."""

    first_points: int = 8  # in the first group
    most_points: int = 32  # in a group
    most_numbers: int = 1 << 24  # of a matrix with a column for each point of a group: 128 MiB on each rank
    few_steps: int = 5  # in a set: a group that needs no more may be larger the next time
    many_steps: int = 8  # a group that needs more is smaller the next time
    first_columns: int = 100  # in a set at least: their matrix costs less than a pass over most rows
    growth: float = 2.0  # columns in a set over the support of its points
    most_columns: int = 2000  # in a set, because its matrix has the square of that
    whole: float = 0.5  # of all stored numbers: a set with more takes all columns, without a copy
    accuracy: float = 0.3  # of the tolerance that a set may use up: the rest is for the other columns
    sharpened: float = 0.1  # factor on that after a check that failed though no column was missing
    tries: int = 6  # checks that a point may fail


TUNING = GroupTuning()


class PathStart(NamedTuple):
    """What all points of a path share.

    Attributes
    ----------
    objective : Objective
        With the best constants as its origin.
    exact : Evaluation
        The loss part there, and its gradient.
    labels : LabelStatistics
        For the strength 1.
    l1_ratio : float
        Share of the strength that is l1.
    """

    objective: Objective
    exact: Evaluation
    labels: LabelStatistics
    l1_ratio: float

    @classmethod
    def of(cls, objective: Objective, l1_ratio: float, channel: Channel) -> PathStart:
        """Find the best constants, evaluate there and collect the statistics of the labels; collective."""
        unit = replace(with_best_constants(objective, channel), penalty=penalty(l1_ratio, 1.0 - l1_ratio))
        unit = replace(unit, penalty=unit.named_penalty)
        exact = evaluate_exact(unit, unit.origin(), channel)
        return cls(unit, exact, label_statistics(unit, channel), l1_ratio)

    def at(self, strength: float) -> Objective:
        """Return the objective of a strength."""
        unit = self.objective.penalty
        parts = {field.name: strength * getattr(unit, field.name) for field in fields(unit)}
        return replace(self.objective, penalty=replace(unit, **parts))

    def labels_at(self, strength: float) -> LabelStatistics:
        """Return the statistics of the labels in units of the penalty of a strength."""
        size = 1.0 / math.sqrt(strength) if self.objective.penalty.strengths[1] else 1.0 / strength
        return replace(self.labels, largest_row=size * self.labels.largest_row, mean_row=size * self.labels.mean_row)

    def scales(self, values: Vector) -> Vector:
        """Return what gaps at some values are relative to, as `Certifier.scale` does."""
        floor = self.labels.floor
        return np.maximum(values - floor, max(LEAST_SCALE * (self.exact.value - floor), TINY))


class Solved(NamedTuple):
    """A point that a group has certified, or could not."""

    number: int
    w: Vector  # (width,)
    value: float
    certificate: float  # relative
    certified: bool


def takes_groups(objective: Objective) -> bool:
    """Return whether the points of a path can be solved in groups: one output, and curvature wherever the loss is."""
    smooth = objective.loss.quadratic or objective.loss.link != "identity"
    plain = objective.groups is None and objective.bounds is None
    return objective.outputs == 1 and smooth and objective.loss.knee is None and plain


class PathGroups:
    """Solves the points of a path in groups.

    Parameters
    ----------
    start : PathStart
        What the points share.
    strengths : ndarray, shape (points,)
        λ, descending.
    tol : float
        Tolerance of each point.
    channel : Channel
        The ranks.
    first : int
        The point to begin with.
    """

    def __init__(self, start: PathStart, strengths: Vector, tol: float, channel: Channel, first: int = 0) -> None:
        self.start, self.strengths, self.tol, self.channel = start, strengths, tol, channel
        self.next, self.pending = first, list[Point]()
        self.part: ColumnSet | None = None  # the last set, if it has all columns
        self.size, self.epochs = TUNING.first_points, 0.0
        objective, width = start.objective, start.objective.width
        rows, n = objective.shard.rows, len(objective.shard)
        self.most = max(1, min(TUNING.most_points, TUNING.most_numbers // max(int(channel.max(float(n))[0]), 1)))
        counts = channel.sum(objective.column_counts.astype(np.float64), float(rows.values.size))
        self.counts, self.stored = counts[:width], max(float(counts[width]), 1.0)
        self.last = self._point(first - 1, max(first - 1, 0))
        self.last.w, self.last.gradient = objective.origin()[0], start.exact.gradient[0]
        self.last.loss = start.exact.value

    def go_on_from(self, number: int, w: Vector) -> None:
        """Take a model as that of a point, from which the next ones start; a pass; collective."""
        part = ColumnSet.of(self.start.objective, self.channel, np.arange(used_columns(self.start.objective)))
        found = part.evaluate(w[None, : len(part.columns)])
        self._spend(part)
        self.last = self._point(number, number)
        self.last.w, self.last.gradient = np.zeros_like(w), np.zeros_like(w)
        self.last.w[part.columns], self.last.gradient[part.columns] = found.w[0], found.gradient[0]
        self.last.loss = float(found.loss[0])

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that the next groups depend on, equal on all ranks."""
        kept = [self.last, *self.pending]
        anchors = {} if self.part is None else self.part.anchors
        support = np.flatnonzero(np.any([point.w != 0.0 for point in kept], axis=0))
        return {
            "groups": np.array([self.next, self.size, self.epochs, self.part is not None], float),
            "figures": np.array([[point.number, point.loss, point.wanted, point.tries] for point in kept], float),
            "support": support,
            "weights": np.array([point.w[support] for point in kept]),
            "gradients": np.array([point.gradient for point in kept]),
            "anchors": np.array(list(anchors), float),
            "curvatures": np.array(list(anchors.values())),
        }

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take up a state: what follows is the same as if there had been no stop."""
        count, size, self.epochs, whole = state["groups"].tolist()
        self.next, self.size = int(count), int(size)
        kept = []
        for k, (number, loss, wanted, tries) in enumerate(state["figures"].tolist()):
            point = self._point(int(number), max(int(number), 0))
            point.w, point.gradient = np.zeros(self.start.objective.width), state["gradients"][k]
            point.w[state["support"]] = state["weights"][k]
            point.loss, point.wanted, point.tries = loss, wanted, int(tries)
            kept.append(point)
        self.last, self.pending = kept[0], kept[1:]
        if whole:
            columns = np.arange(used_columns(self.start.objective))
            self.part = ColumnSet.of(self.start.objective, self.channel, columns)
            self.part.anchors = dict(zip(state["anchors"].tolist(), state["curvatures"], strict=True))

    def solve_next(self) -> tuple[list[Solved], list[Point]]:
        """Solve a group; return the certified points, and those that are left to another method; collective."""
        room = max(min(self.size, self.most) - len(self.pending), 0)
        end = min(self.next + room, len(self.strengths))
        group = self.pending + [self._point(k, k, self.last) for k in range(self.next, end)]
        self.next = end
        columns = self._choose(group)
        if columns is None:
            self.pending = []
            return [], group
        part = self.part
        if part is None or not np.array_equal(part.columns, columns):
            part = self.part = ColumnSet.of(self.start.objective, self.channel, columns)
        share = float(self.counts[columns].sum()) / self.stored
        steps = SetSteps(part, group, share, self.start.labels)
        every = list(range(len(group)))
        scales = self.start.scales(steps.values(every, steps.w, steps.loss))
        for point, scale in zip(group, scales.tolist(), strict=True):
            point.wanted = point.wanted or TUNING.accuracy * self.tol * scale
        steps.run()
        solved, left = self._check(steps)
        self._spend(part)
        if part.covers_all:
            part.forget_before(min([self.next, *(point.number for point in self.pending)]))
        else:
            self.part = None  # its memory is free before the next copy
        self.size = min(2 * self.size, self.most) if steps.steps <= TUNING.few_steps else self.size
        self.size = max(self.size // 2, 2) if steps.steps > TUNING.many_steps else self.size
        return solved, left

    def _point(self, number: int, strength: int, start: Point | None = None) -> Point:
        """Return a point that starts at another one."""
        size = float(self.strengths[strength])
        if start is None:
            return Point(number, number, size, np.empty(0), np.empty(0), 0.0)
        return Point(number, start.number, size, start.w, start.gradient, start.loss)

    def _choose(self, group: list[Point]) -> NDArray[np.int64] | None:
        """Return the columns of the next set; None if there are too many."""
        objective = self.start.objective
        used = used_columns(objective)
        unit = objective.threshold[:used]
        free = unit == 0.0
        inside, score = free.copy(), np.zeros(used)
        for point in [self.last, *(point for point in group if point.start == point.number)]:
            inside |= point.w[:used] != 0.0
            threshold = np.where(free, 1.0, point.strength * unit)
            np.maximum(score, np.abs(point.gradient[:used]) / threshold, out=score, where=~free)
        support = int(np.count_nonzero(inside))
        if support > TUNING.most_columns:
            return None
        size = min(max(TUNING.first_columns, int(TUNING.growth * support)), TUNING.most_columns, used)
        order = np.argsort(-np.where(inside, np.inf, score), kind="stable")
        columns = np.sort(order[:size])
        share = float(self.counts[columns].sum()) / self.stored
        if used <= TUNING.most_columns and share > TUNING.whole:
            return np.arange(used)
        return columns

    def _check(self, steps: SetSteps) -> tuple[list[Solved], list[Point]]:
        """Certify the points of a group over all columns; collective."""
        part, width = steps.part, self.start.objective.width
        seen = [k for k in range(len(steps.points)) if steps.evaluated[k]]
        gradients = np.zeros((len(seen), width))
        if part.covers_all:
            gradients[:, part.columns] = steps.gradient[seen]
        elif seen:
            gradients = part.all_gradients(steps.slopes[seen])
        solved: list[Solved] = []
        left = [point for k, point in enumerate(steps.points) if not steps.evaluated[k]]
        self.pending = []
        if not seen:
            return solved, left
        w = np.zeros((len(seen), width))
        w[:, part.columns] = steps.w[seen] + 0.0  # no -0.0, which a saved point would not have
        which = slice(None) if len(seen) == len(steps.points) else seen  # of all of them no copy is made
        at = EvaluatedModels(w, steps.margins[which], steps.slopes[which], steps.loss[which], gradients)
        strengths = np.array([steps.points[k].strength for k in seen])
        scales = self.start.scales(steps.values(seen, steps.w[seen], at.loss))
        labels = [self.start.labels_at(float(strength)) for strength in strengths]
        enough = self.tol * scales
        value, gap = gaps_at(self.start.objective, strengths, at, labels, self.channel, enough)
        certified = self.channel.of_root((gap <= enough).astype(np.float64)) > 0.0
        for i, k in enumerate(seen):
            point = steps.points[k]
            point.w, point.gradient, point.loss, point.start = w[i], gradients[i], float(at.loss[i]), point.number
            if certified[i]:
                solved.append(Solved(point.number, w[i], float(value[i]), float(gap[i] / scales[i]), True))
            elif self._is_hopeless(point, part):
                left.append(point)
            else:
                self.pending.append(point)
            if point.number >= self.last.number:
                self.last = point
        return solved, left

    def _is_hopeless(self, point: Point, part: ColumnSet) -> bool:
        """Note that a point has failed a check; return whether it is left to another method."""
        point.tries += 1
        outside = np.abs(point.gradient) > point.strength * self.start.objective.threshold
        outside[part.columns] = False
        if point.finished and not outside.any():
            point.wanted *= TUNING.sharpened
        return point.stuck or point.tries >= TUNING.tries

    def _spend(self, part: ColumnSet) -> None:
        """Count what a set has cost the ranks; collective."""
        self.epochs += float(self.channel.sum(part.numbers)[0]) / self.stored
        part.numbers = 0.0


def least_strength(start: PathStart) -> float:
    """Return the least λ at which all coefficients are 0; 0 if they are 0 without a penalty."""
    objective, d = start.objective, start.objective.shard.features
    gradient = start.exact.gradient
    if objective.groups is not None:
        return objective.groups.largest(gradient) / start.l1_ratio
    if objective.bounds is not None:
        gradient = objective.bounds.allowed(objective.zeros(), gradient)
    largest = float(np.abs(gradient[:, :d] / objective.rate[:d]).max(initial=0.0)) if d else 0.0
    return largest / start.l1_ratio


def one_degree(start: PathStart, channel: Channel) -> float:
    """Return a λ at which a ridge leaves less than one effective parameter beside the constants; collective.

    With the curvature H at the constants that number is tr H (H + λ)⁻¹ < tr H / λ.
    """
    objective, d = start.objective, start.objective.shard.features
    bends = channel.sum(column_curvatures(objective, objective.origin()))[:d]
    return float((bends / objective.rate[:d] ** 2).sum())
