"""Several points of a path at once, in a few columns: a step of all of them is one product of the rows with a matrix.

Each point takes proximal Newton steps (J. D. Lee, Y. Sun, M. A. Saunders, SIAM J. Optim. 24 (2014), algorithm 1).
The curvature is computed at some points only, the anchors, and between them it is a straight line in the number of
the point: along a path it changes slowly. Between two computations each point corrects it by the change of its
gradient (J. Nocedal, S. Wright, Numerical Optimization (2006), chapter 6). So a step costs the rows two products for
all points together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.second_order.l1_quadratic import approach_each, first_order_change
from mpiopt.algorithms.second_order.line_search import ARMIJO, ROUNDING
from mpiopt.compress.channel import Channel
from mpiopt.compress.symmetric_sum import symmetric_sum
from mpiopt.data.shard import CsrRows, Rows
from mpiopt.kernels.quasi_newton import learn_step
from mpiopt.objective import passes
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.dual_points import blocks
from mpiopt.objective.duality_gap import expected_gaps
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.objective import Objective
from mpiopt.objective.restriction import SEARCH

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class SetTuning:
    """Constants of the steps, found on half of the data sets (`benchmarks/paths.py`)."""

    steps: int = 14  # of all points in one set, at most
    anchors: float = 1.0  # passes over all rows that the curvature at anchors may cost at a time
    anchoring: int = 3  # steps from one computation of anchors to the next; between them each point learns (BFGS)
    most_learned: int = 1 << 25  # numbers in the matrices that points learn: 256 MiB on rank 0; else none are kept
    shortened: float = 0.25  # factor on a step after which F does not fall
    shortest: float = 1e-3  # of a step; a point that needs a shorter one is left to another method
    forcing: float = 1e-3  # violation that the solution of a quadratic model may leave, as a part of that before
    exactly: float = 1e-9  # the same where F is its model: one step is enough, and the rows are read once


TUNING = SetTuning()


@dataclass(eq=False)
class Point:
    """A point of a path on its way to its optimum.

    Parameters
    ----------
    number : int
        Its number on the path.
    start : float
        The number of the point whose model it starts from; its own once it has been in a set.
    strength : float
        Of its penalty.
    w, gradient : ndarray, shape (width,)
        Model and gradient of the loss part, over all columns.
    loss : float
        The loss part there.
    wanted : float
        The gap, in units of F, at which the work in a set ends.
    """

    number: int
    start: float
    strength: float
    w: Vector
    gradient: Vector
    loss: float
    wanted: float = 0.0
    tries: int = 0
    finished: bool = False  # whether it had that gap in its last set
    stuck: bool = False  # whether its steps became too short


class Evaluated(NamedTuple):
    """Some models in the columns of a set, at their best intercepts; rows are those of this rank."""

    w: Matrix  # (K, m)
    margins: Matrix  # (K, n)
    slopes: Matrix  # (K, n)
    loss: Vector  # (K,)
    gradient: Matrix  # (K, m) of the loss part


@dataclass(eq=False)
class ColumnSet:
    """The rows in m columns, for single-output losses.

    Attributes
    ----------
    objective : Objective
        All columns, with any penalty.
    channel : Channel
        The ranks.
    columns : ndarray of int64, shape (m,)
        The columns, ascending.
    rows : DenseRows or CsrRows
        This rank's rows in these columns.
    numbers : float
        Numbers of this rank's rows that were read so far.
    """

    objective: Objective
    channel: Channel
    columns: NDArray[np.int64]
    rows: Rows
    numbers: float = 0.0
    anchors: dict[float, Matrix] = field(default_factory=dict)  # curvature of the loss by number of the point

    @classmethod
    def of(cls, objective: Objective, channel: Channel, columns: NDArray[np.int64]) -> ColumnSet:
        """Copy the columns; no copy is made of all of them."""
        rows = objective.shard.rows
        if len(columns) == used_columns(objective):
            return cls(objective, channel, columns, rows)
        chosen = passes.chosen_columns(rows, columns)
        cost = SEARCH * rows.values.size if isinstance(rows, CsrRows) else float(chosen.values.size)
        return cls(objective, channel, columns, chosen, cost)

    @property
    def covers_all(self) -> bool:
        """Whether every column in use is among the m."""
        return self.rows is self.objective.shard.rows

    def evaluate(self, w: Matrix) -> Evaluated:
        """Evaluate models (K, m), after a Newton step on their intercepts; two products with the rows; collective."""
        shard, loss, count = self.objective.shard, self.objective.loss, len(w)
        y, s = shard.label, shard.weight / shard.total
        z = self.margins(w)
        slopes, values = np.empty_like(z), np.empty(count)
        w = w.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            if shard.intercept:
                shift = self._shifts(z, y, s)
                w[:, np.searchsorted(self.columns, shard.features)] += shift
                z += shift[:, None]
            for block in blocks(count, y):
                part = z[block.models]
                slopes[block.models], values[block.models] = (
                    block.of(loss.slope, part),
                    block.of(loss.value, part) @ s,
                )
            own = passes.weighted_row_sum(self.rows, (slopes * s).T)[:, : w.shape[1]]
        self.numbers += 0.5 * self.rows.values.size
        total = self.channel.sum(values, own)
        return Evaluated(w, z, slopes, total[:count], total[count:].reshape(w.shape))

    def margins(self, w: Matrix) -> Matrix:
        """Return the margins of models (K, m) at this rank's rows, (K, n): half a pass."""
        full = np.zeros((len(w), self.rows.width))
        full[:, : w.shape[1]] = w
        self.numbers += 0.5 * self.rows.values.size
        return passes.margins(self.rows, full, by_model=True)  # a loss reads the rows of one model in turn

    def _shifts(self, z: Matrix, y: Vector, s: Vector) -> Vector:
        """Return a Newton step on each intercept, (K,): what is left of its slope falls quadratically; collective."""
        loss, sums = self.objective.loss, np.empty((2, len(z)))
        for block in blocks(len(z), y):
            part = z[block.models]
            sums[:, block.models] = block.of(loss.slope, part) @ s, block.of(loss.curvature, part) @ s
        slope, bend = self.channel.sum(sums).reshape(2, -1)
        good = np.isfinite(slope) & np.isfinite(bend) & (bend > 0.0)
        step = np.divide(-slope, bend, out=np.zeros_like(slope), where=good)
        return np.asarray(step if loss.quadratic else np.clip(step, -1.0, 1.0))

    def all_gradients(self, slopes: Matrix) -> Matrix:
        """Return the gradients over all columns, (K, width): half a pass for all models together; collective."""
        shard = self.objective.shard
        own = passes.weighted_row_sum(shard.rows, (slopes * (shard.weight / shard.total)).T)
        self.numbers += 0.5 * shard.rows.values.size
        return self.channel.sum(own).reshape(own.shape)

    def put_anchors(self, where: dict[float, Vector]) -> None:
        """Compute the curvature of the loss at margins (n,) by the number of the point; collective."""
        shard, loss, m = self.objective.shard, self.objective.loss, len(self.columns)
        for number, z in where.items():
            c = shard.weight * loss.curvature(z[:, None], shard.label)
            own = passes.gram(self.rows, c)[:m, :m] / shard.total
            self.numbers += self.rows.values.size
            self.anchors[number] = symmetric_sum(own, self.channel) if self.channel.size > 1 else own

    def forget_before(self, number: float) -> None:
        """Drop the anchors that no point from a number on looks at."""
        for place in sorted(place for place in self.anchors if place <= number)[:-1]:
            del self.anchors[place]

    def curvature(self, number: float) -> Matrix:
        """Return the curvature of the loss at a point: on the straight line between the nearest anchors, (m, m)."""
        places = sorted(self.anchors)
        right = int(np.searchsorted(places, number))
        if right == 0 or right == len(places):
            return self.anchors[places[min(right, len(places) - 1)]]
        low, high = places[right - 1], places[right]
        part = (number - low) / (high - low)
        return np.asarray((1.0 - part) * self.anchors[low] + part * self.anchors[high])


class SetSteps:
    """Proximal Newton steps of several points in one set of columns.

    Parameters
    ----------
    part : ColumnSet
        The columns; all weights of the points outside are 0.
    points : list of Point
        The points.
    share : float
        Numbers stored in the set over all stored numbers, on all ranks.
    labels : LabelStatistics
        Those of the path.
    """

    def __init__(self, part: ColumnSet, points: list[Point], share: float, labels: LabelStatistics) -> None:
        self.part, self.points, self.share = part, points, share
        columns = part.columns
        self.w = np.array([point.w[columns] for point in points])
        self.gradient = np.array([point.gradient[columns] for point in points])
        self.loss = np.array([point.loss for point in points])
        self.margins = np.zeros((len(points), len(part.objective.shard)))  # of those that were evaluated
        self.slopes = np.zeros_like(self.margins)
        strengths = np.array([point.strength for point in points])[:, None]
        self.threshold = strengths * part.objective.threshold[columns]
        self.ridge = strengths * part.objective.ridge[columns]
        self.evaluated = np.zeros(len(points), dtype=bool)  # in this set
        self.steps = 0
        self.curvatures: dict[int, Matrix] = {}
        self.features = int(np.searchsorted(columns, part.objective.shard.features))
        self.labels = labels
        known = part.channel.rank or part.objective.loss.quadratic
        self.learns = not known and self.w.size * self.w.shape[1] <= TUNING.most_learned

    def values(self, which: list[int], w: Matrix, loss: Vector) -> Vector:
        """Return F at models of some points, (len(which),)."""
        bent = 0.5 * self.ridge[which] * w * w
        return np.asarray(loss + (self.threshold[which] * np.abs(w) + bent).sum(axis=1))

    def gaps(self, which: list[int]) -> Vector:
        """Estimate the duality gaps of some points in the set, (len(which),)."""
        d, v = self.features, -self.gradient[which]
        if self.part.objective.shard.intercept:
            v = v - v[:, d : d + 1] * self.labels.mean_row_vector[self.part.columns]
        above = self.values(which, self.w[which], self.loss[which]) - self.labels.floor
        kept = self.w[which, :d], v[:, :d], self.threshold[which, :d], self.ridge[which, :d]
        return expected_gaps(*kept, above)

    def run(self) -> None:
        """Step until every point has the gap that it wants, or its step becomes too short; collective."""
        part, count = self.part, len(self.points)
        if not part.anchors:
            self._anchor_starts()
        length, step = np.ones(count), np.zeros_like(self.w)
        fresh = np.ones(count, dtype=bool)  # whether the step has to be computed
        gaps = np.full(count, np.inf)
        wanted = np.array([point.wanted for point in self.points])
        going = list(range(count))
        for self.steps in range(1, TUNING.steps + 1):
            self._compute_steps([k for k in going if fresh[k]], step)
            found = part.evaluate(self.w[going] + length[going, None] * step[going])
            falls = self._falls(going, found, length[going, None] * step[going])
            fresh[going] = part.channel.of_root(falls.astype(np.float64)) > 0.0
            taken = [k for k in going if fresh[k]]
            self._take(taken, [i for i, k in enumerate(going) if fresh[k]], found)
            gaps[taken] = self.gaps(taken)
            length[going] = np.where(fresh[going], 1.0, TUNING.shortened * length[going])
            for k in going:
                self.points[k].stuck |= length[k] < TUNING.shortest
            wide = part.channel.of_root((gaps[going] > wanted[going]).astype(np.float64)) > 0.0
            going = [k for k, more in zip(going, wide, strict=True) if more and not self.points[k].stuck]
            if not going:
                break
            if not part.objective.loss.quadratic and self.steps % TUNING.anchoring == 1:
                self._anchor(going)
                self.curvatures.clear()
                fresh[going] = True
        for k, point in enumerate(self.points):
            point.finished = k not in going and not point.stuck

    def _falls(self, which: list[int], found: Evaluated, step: Matrix) -> NDArray[np.bool_]:
        """Return for some points whether F falls enough to the models of an evaluation; local."""
        w = self.w[which]
        old, new = self.values(which, w, self.loss[which]), self.values(which, found.w, found.loss)
        g = self.gradient[which] + self.ridge[which] * w
        foretold = first_order_change(w, g, step, self.threshold[which]).sum(axis=1)
        return np.asarray(new <= old + ARMIJO * np.minimum(foretold, 0.0) + ROUNDING * np.abs(old))

    def _take(self, which: list[int], models: list[int], found: Evaluated) -> None:
        """Move some points to models of an evaluation."""
        if self.learns:
            for k, i in zip(which, models, strict=True):
                self._learn(k, found.w[i] - self.w[k], found.gradient[i] - self.gradient[k])
        self.w[which], self.loss[which], self.gradient[which] = (
            part[models] for part in (found.w, found.loss, found.gradient)
        )
        if len(which) == len(self.points):
            self.margins, self.slopes = found.margins, found.slopes
        else:
            self.margins[which], self.slopes[which] = found.margins[models], found.slopes[models]
        self.evaluated[which] = True

    def _learn(self, k: int, s: Vector, y: Vector) -> None:
        """Give the curvature of point k what the gradient shows of it along a step s (BFGS), on rank 0."""
        if k not in self.curvatures:
            self.curvatures[k] = self._curvature(k).copy()
        learn_step(self.curvatures[k], s, y)

    def _compute_steps(self, which: list[int], step: Matrix) -> None:
        """Solve the quadratic models of some points; all ranks take rank 0's answers."""
        step[which] = 0.0
        if self.part.channel.rank == 0:
            g = self.gradient[which] + self.ridge[which] * self.w[which]
            forcing = TUNING.exactly if self.part.objective.loss.quadratic else TUNING.forcing
            shared = self.part.objective.loss.quadratic and not self.curvatures
            h = [self._curvature(k) for k in (which[:1] if shared else which)]
            if which:
                step[which] = approach_each(h, self.ridge[which], g, self.w[which], self.threshold[which], forcing)
        if which:
            step[which] = self.part.channel.of_root(step[which]).reshape(len(which), -1)

    def _curvature(self, k: int) -> Matrix:
        """Return the curvature of the loss at point k as far as it is known."""
        return self.curvatures[k] if k in self.curvatures else self.part.curvature(self.points[k].number)

    def _anchor_starts(self) -> None:
        """Compute the curvature where the points start; points that start together share it."""
        starts = {point.start: k for k, point in enumerate(self.points)}
        quadratic = self.part.objective.loss.quadratic
        most = 1 if quadratic else min(self._most_anchors(), len(starts))
        chosen = sorted(starts)[:: -(-len(starts) // most)]
        if not quadratic:  # the curvature of the others is the same everywhere
            self._fill_margins([starts[number] for number in chosen])
        self.part.put_anchors({number: self.margins[starts[number]] for number in chosen})

    def _anchor(self, going: list[int]) -> None:
        """Compute the curvature at some of the points, the last one among them, in place of earlier ones."""
        most = min(self._most_anchors(), len(going))
        places = {going[-1 - (i * len(going)) // most] for i in range(most)}
        low, high = min(self.points[k].number for k in going), max(self.points[k].number for k in going)
        for number in [n for n in self.part.anchors if low <= n <= high]:
            del self.part.anchors[number]
        self._fill_margins(sorted(places))
        self.part.put_anchors({self.points[k].number: self.margins[k] for k in sorted(places)})

    def _fill_margins(self, which: list[int]) -> None:
        """Compute the margins of those points that were not evaluated in this set: no point brings its own."""
        missing = [k for k in which if not self.evaluated[k]]
        if missing:
            self.margins[missing] = self.part.margins(self.w[missing])

    def _most_anchors(self) -> int:
        return max(1, int(TUNING.anchors / max(self.share, 1e-6)))
