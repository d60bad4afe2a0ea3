"""Proximal Newton on a working set: most weights of an l1 model are 0, and only a few more may become nonzero.

M. Massias, A. Gramfort, J. Salmon, Celer: a fast solver for the lasso with dual extrapolation, ICML 2018 (the set
doubles); Q. Bertrand, Q. Klopfenstein, P.-A. Bannier, G. Gidel, M. Massias, Beyond L1: faster and better sparse
models with skglm, NeurIPS 2022 (the set is chosen by violation); J. D. Lee, Y. Sun, M. A. Saunders, Proximal
Newton-type methods for minimizing composite functions, SIAM J. Optim. 24 (2014), algorithm 1 (on the set).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.second_order.box_quadratic import BoxQuadraticModel
from mpiopt.algorithms.second_order.box_quadratic import largest_violation as box_violation
from mpiopt.algorithms.second_order.group_quadratic import GroupQuadraticModel
from mpiopt.algorithms.second_order.l1_quadratic import (
    QuadraticModel,
    first_order_change,
    largest_violation,
)
from mpiopt.algorithms.second_order.line_search import ARMIJO, ROUNDING, move_to
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Layout, NamedVector, Replicated, Slot
from mpiopt.objective import passes
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.duality_gap import least_subgradient
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Objective
from mpiopt.objective.restriction import Point, Restriction, cost_of_columns, restrict

Model = NDArray[np.float64]
Vector = NDArray[np.float64]
Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class WorkingSetTuning:
    """Constants of the method, found on half of the data sets (docs/explanation/design.md)."""

    first_size: int = 100  # weights in the first set: its matrix costs less than a pass over most rows
    growth: int = 2  # times the support: the next set; and factor on a set that was too small
    progress: float = 0.1  # of the violation: if more is left after a round, the set was too small
    least_new: int = 10  # weights that are new to a set of which the support is all
    steps: int = 12  # Newton steps on one set at most
    accuracy: float = 0.1  # violation on the set, as a part of that on all columns, that ends the work on a set
    settled_accuracy: float = 0.01  # the same on a set that was large enough in the last round
    forcing: float = 0.01  # violation that the solution of a quadratic model may leave, as a part of that before
    whole_accuracy: float = 1e-4  # the same on a set of all columns, where a round saves no pass
    rounding: float = 0.05  # relative error of a curvature in 16 bits: a step still contracts by more than the next
    contraction: float = 0.1  # of the violation by a step; a factor that contracts less is computed anew
    least_curvature: float = 0.1  # of the bound, that a row counts with in the first step: Huber's may have none
    fading: float = 0.1  # factor on that curvature after a whole step; its inverse after a short one
    negligible: float = 1e-12  # of the bound: a smaller least curvature is 0
    short: float = 0.3  # a step of less than this part was too long: rows need more curvature
    shortest: float = 1e-3  # a step without any gain counts as so long
    least_spread: float = 1e-300  # of the margins along a step, so that its inverse stays finite
    lengths: int = 8  # halvings of a step that are evaluated in one exchange
    exchanges: int = 5  # of such lengths at most: 2^-40 of a step is below its rounding


TUNING = WorkingSetTuning()


class WorkingSetControl(NamedVector):
    """What the next round must know of the last one."""

    largest = Slot(0)  # weights of the next set
    unrecorded = Slot(1)  # epochs spent before the first round
    least = Slot(2)  # curvature of a row at least, as a part of its bound
    stored = Slot(3)  # numbers stored in the rows of all ranks
    violation = Slot(4)  # largest violation of the last round
    settled = Slot(5)  # 1: the last set was large enough


@dataclass
class WorkingSetState:
    """The iterate with its exact value and gradient."""

    w: Replicated  # (outputs, width)
    value: Replicated  # (1,) F(w)
    gradient: Replicated  # (outputs, width) of the loss part
    control: Annotated[WorkingSetControl, Layout.REPLICATED]


@dataclass(frozen=True)
class WorkingSet(Algorithm[WorkingSetState]):
    """Proximal Newton for l1 on a set of m weights: one pass over all columns a round, m² numbers an exchange.

    A round chooses the support and the worst violators of the optimality conditions, and minimises F in these
    weights by w ← w + t p, p = argmin g·p + ½ pᵀH p + h(w + p), t by exact values from the margins of the rows.

    ======  ========  ===========================================================
    symbol  field     meaning
    ======  ========  ===========================================================
    w       w         model
    F(w)    value     objective
    –       gradient  gradient of the loss part; g = gradient + ridge · w
    m       control   size of the set, at least twice the support
    H       –         curvature of loss and ridge in the set
    ======  ========  ===========================================================

    Epochs are passes over the rows: a pass over m columns counts with the part of all stored numbers that they have.

    Parameters
    ----------
    limit
        Most weights in a set, because H has the square of that.

    References
    ----------
    M. Massias, A. Gramfort, J. Salmon, ICML 2018; Q. Bertrand et al., NeurIPS 2022; J. D. Lee, Y. Sun, M. A.
    Saunders, SIAM J. Optim. 24 (2014), algorithm 1.
    """

    name: ClassVar[str] = "working-set"
    compressed_memory: ClassVar[str] = "none"
    largest_variance: ClassVar[float] = 1e-4  # 16 bits, for the curvature alone
    takes_bounds: ClassVar[bool] = True
    takes_groups: ClassVar[bool] = True
    limit: int = 2000

    def __post_init__(self) -> None:
        at_least("working-set: limit", self.limit, 1)

    def blank(self, objective: Objective, size: int) -> WorkingSetState:
        """Return a state at w = 0 without an evaluation."""
        w, control = objective.zeros(), WorkingSetControl.zeros()
        control.largest, control.least = TUNING.first_size / TUNING.growth, TUNING.least_curvature
        return WorkingSetState(w, np.zeros(1), w.copy(), control)

    def init(self, objective: Objective, channel: Channel) -> WorkingSetState:
        """Start at the origin, or at the model that was given."""
        first = objective.beginning()
        state = self.go_on(first, evaluate_exact(objective, first, channel), objective, channel)
        state.control.unrecorded = 1.0
        return state

    def go_on(self, w: Model, exact: Evaluation, objective: Objective, channel: Channel) -> WorkingSetState:
        """Begin at w; its support is in the first set."""
        state = self.blank(objective, channel.size)
        move_to(state, w, exact)
        state.control.stored = channel.sum(float(objective.shard.rows.values.size))[0]
        return state

    def rebuild(self, state: WorkingSetState, objective: Objective, channel: Channel) -> None:
        """Nothing is derived: each round makes its own set."""

    def step(self, k: int, state: WorkingSetState, objective: Objective, channel: Channel) -> StepInfo:
        """Choose a set, minimise in it, and evaluate all columns."""
        g = state.gradient + objective.ridge * state.w
        violation = np.abs(_subgradient(objective, state.w, g))
        part = restrict(objective, channel, state.w, self._choose(state, g, violation, objective))
        start = part.start(state.w, float(state.value[0]), state.gradient)
        accuracy = TUNING.settled_accuracy if state.control.settled else TUNING.accuracy
        accuracy = TUNING.whole_accuracy if part.covers_all else accuracy
        solver = SetSolver(part, state.control, accuracy * state.control.violation)
        point, t = solver.minimise(start)
        epochs = state.control.unrecorded + solver.epochs
        state.control.unrecorded = 0.0
        if not t:
            return StepInfo(epochs, 0.0, Evaluation(float(state.value[0]), state.gradient.copy()))
        state.w[:, part.columns] = point.w
        if part.covers_all:
            state.value[0], state.gradient[:, part.columns] = point.value, point.gradient
        else:
            move_to(state, state.w, evaluate_exact(objective, state.w, channel))
            epochs += 1.0
        return StepInfo(epochs, t, Evaluation(float(state.value[0]), state.gradient.copy()))

    def _choose(self, state: WorkingSetState, g: Model, violation: Model, objective: Objective) -> Chosen:
        """Return the unpenalised weights, the support and the largest |g_j| - l1, and note the size of the set."""
        control, used = state.control, np.arange(objective.width) < used_columns(objective)
        free = np.broadcast_to(objective.threshold == 0, g.shape) & used
        support = (state.w != 0) | free
        if objective.groups is not None:
            support = objective.groups.whole(state.w != 0) | free
        if objective.bounds is not None:  # a weight that stays at its bound is as little in the way as one at 0
            moves = (state.w > objective.bounds.lower) & (state.w < objective.bounds.upper)
            free, support = free & moves, support & moves
        inside, worst = int(np.count_nonzero(support)), float(violation.max(initial=0.0))
        settled = worst <= TUNING.progress * control.violation
        last = TUNING.growth * control.largest * (not settled)
        control.largest = max(last, float(TUNING.growth * (inside - int(np.count_nonzero(free)))))
        control.violation, control.settled = worst, float(settled)
        size, room = int(min(max(control.largest, inside + TUNING.least_new), self.limit)), self.limit - inside
        rank = np.where(support, np.inf, np.abs(g) - objective.threshold)
        rank = rank if objective.bounds is None else np.where(support, np.inf, violation)
        if objective.groups is not None:
            rank = np.where(support, np.inf, objective.groups.excess(g, objective.penalty.strengths[0]))
        if room < TUNING.least_new:  # blocks of the worst violators then take turns
            rank = violation
        chosen = largest(np.where(used, rank, -np.inf), min(size, len(g) * used_columns(objective)))
        return chosen if objective.groups is None else objective.groups.whole(chosen)


def largest(rank: Model, count: int) -> Chosen:
    """Return which entries are the `count` largest, of equal ones the first; in linear time."""
    flat = rank.ravel()
    least = np.partition(flat, flat.size - count)[flat.size - count] if count else np.inf
    chosen = flat > least
    equal = np.flatnonzero(flat == least)
    chosen[equal[: count - np.count_nonzero(chosen)]] = True
    return chosen.reshape(rank.shape)


class SetSolver:
    """Proximal Newton in the chosen weights of a restriction.

    Parameters
    ----------
    part
        The objective in the set.
    control
        Its `least` and `stored` are used; `least` is updated.
    enough
        Violation at which the work on the set ends.
    """

    def __init__(self, part: Restriction, control: WorkingSetControl, enough: float) -> None:
        self.part, self.control, self.enough = part, control, enough
        objective = part.objective
        total = part.channel.sum(
            float(part.stored), cost_of_columns(objective, part) * objective.shard.rows.values.size
        )
        stored = max(control.stored, 1.0)
        self.share = float(total[0]) / stored  # of all stored numbers, in the set
        self.epochs = float(total[1]) / stored + 0.5 * self.share
        self.chosen = part.chosen
        self.threshold = np.broadcast_to(part.threshold, self.chosen.shape)[self.chosen]
        whole = part.objective.bounds
        self.bounds = None if whole is None else whole.of_columns(part.columns)
        self.of_chosen = None if whole is None else whole.of_columns(part.columns[np.nonzero(self.chosen)[1]])
        every, self.l1 = part.objective.groups, part.objective.penalty.strengths[0]
        self.groups = None if every is None else every.of_columns(part.columns[np.nonzero(self.chosen)[1]])
        self.model: QuadraticModel | BoxQuadraticModel | GroupQuadraticModel | None = None

    def minimise(self, point: Point) -> tuple[Point, float]:
        """Step until the violation is small enough; return the point and the last step length, 0 without a step."""
        moved, before = 0.0, self.violation(point)
        for _ in range(TUNING.steps):
            least = self.control.least
            found, t = self.step(point)
            if not t and self.control.least <= least:
                break
            if t:
                now, gained = self.violation(found), found.value < point.value
                point, moved = found, t
                if now <= self.enough or not (gained or now < before):
                    break
                if not (self.part.objective.loss.quadratic or now <= TUNING.contraction * before):
                    self.model = None
                before = now
        return point, moved

    def violation(self, point: Point) -> float:
        """Return the largest violation of the optimality conditions in the set."""
        w, g = point.w[self.chosen], self.part.smooth_gradient(point)[self.chosen]
        if self.groups is not None:
            return float(np.abs(self.groups.least_subgradient(w, g, self.l1)).max(initial=0.0))
        if self.of_chosen is not None:
            return box_violation(w, g, self.threshold, self.of_chosen)
        return largest_violation(w, g, self.threshold)

    def bend_rows(self, p: Vector, change: Model, t: float) -> None:
        """Give rows more curvature after a step p of which only t was good: 1/t of the model's along p."""
        loss, shard = self.part.objective.loss, self.part.objective.shard
        if self.model is None or loss.quadratic or loss.curvature_bound is None:
            return
        spread = float(self.part.channel.sum(float(shard.weight @ (change * change).sum(axis=1)))[0]) / shard.total
        seen = float(p @ (self.model.h @ p)) / max(t, TUNING.shortest)
        seen /= max(spread * loss.curvature_bound, TUNING.least_spread)
        self.control.least = min(1.0, max(seen, TUNING.negligible, self.control.least / TUNING.fading))
        self.model = None

    def step(self, point: Point) -> tuple[Point, float]:
        """Search on the line to the minimum of the quadratic model; return the point and the step length."""
        if self.model is None:
            bound = self.part.objective.loss.curvature_bound or 0.0
            h = self.part.curvature(point.margins, self.control.least * bound, TUNING.rounding)
            if self.groups is not None:
                self.model = GroupQuadraticModel(h, self.groups, self.l1)
            elif self.of_chosen is None:
                self.model = QuadraticModel(h, self.threshold)
            else:
                self.model = BoxQuadraticModel(h, self.threshold, self.of_chosen)
            self.epochs += self.share
        w, g = point.w[self.chosen], self.part.smooth_gradient(point)[self.chosen]
        p = np.zeros_like(point.w)
        p[self.chosen] = self.part.channel.of_root(self.model.approach(g, w, TUNING.forcing))
        decrease = -self.foretold(w, g, p[self.chosen])
        if not decrease > 0.0:
            return point, 0.0
        change = np.asarray(passes.margins(self.part.rows, p))
        found, t = self.search(point, p, change, decrease)
        if t < TUNING.short:
            self.bend_rows(p[self.chosen], change, t)
        elif t == 1.0:
            faded = TUNING.fading * self.control.least
            self.control.least = faded if faded >= TUNING.negligible else 0.0
        return found, t

    def foretold(self, w: Vector, g: Vector, p: Vector) -> float:
        """Return g·p + h(w + p) − h(w), which is not above 0."""
        if self.groups is not None:
            return float(g @ p) + self.l1 * self.groups.change(w, p)
        return float(first_order_change(w, g, p, self.threshold).sum())

    def search(self, point: Point, p: Model, change: Model, decrease: float) -> tuple[Point, float]:
        """Return the first of w + p, w + p/2, w + p/4 … where F falls enough; the old point and 0 if none does."""
        part, slack = self.part, ROUNDING * abs(point.value)
        self.epochs += self.share
        whole = part.evaluate(self._inside(point.w + p), point.margins + change)
        if whole.value <= point.value - ARMIJO * decrease + slack:
            return whole, 1.0
        for first in range(1, TUNING.lengths * TUNING.exchanges, TUNING.lengths):
            lengths = np.ldexp(1.0, -np.arange(first, first + TUNING.lengths))
            values = part.values(point, p, change, lengths)
            good = np.flatnonzero(values <= point.value - ARMIJO * decrease * lengths + slack)
            if len(good):
                t = float(lengths[good[0]])
                self.epochs += 0.5 * self.share
                return part.evaluate(self._inside(point.w + t * p), point.margins + t * change), t
        return point, 0.0

    def _inside(self, w: Model) -> Model:
        """Return weights within their bounds, from which rounding may have moved them."""
        return w if self.bounds is None else self.bounds.nearest(w)


def _subgradient(objective: Objective, w: Model, g: Model) -> Model:
    """Return least subgradients, 0 where a step along them would leave the bounds; g of the smooth part."""
    if objective.groups is not None:
        return objective.groups.least_subgradient(w, g, objective.penalty.strengths[0])
    found = least_subgradient(w, g, objective.threshold)
    return found if objective.bounds is None else objective.bounds.allowed(w, found)
