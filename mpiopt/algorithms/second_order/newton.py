"""Distributed exact Newton: the curvature summed over the ranks, a Cholesky factor, a line search on exact values.

J. Nocedal, S. Wright, Numerical Optimization (2006), section 3.3. With l1 it is proximal Newton: J. D. Lee, Y. Sun,
M. A. Saunders, SIAM J. Optim. 24 (2014), algorithm 1. A factor is used for more steps while they contract well
(V. E. Shamanskii, Ukr. Math. J. 19 (1967)). For the squared loss these steps are iterative refinement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import warm_start
from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.second_order.interior_point import STEP_EPOCHS, ClippedProblem, in_centred_columns, minimise
from mpiopt.algorithms.second_order.l1_quadratic import DampedCholesky, QuadraticModel, first_order_change
from mpiopt.algorithms.second_order.line_search import ROUNDING, backtracking_search, move_to
from mpiopt.algorithms.second_order.margin_search import Line, search_length
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Derived, Layout, NamedVector, Replicated, Slot
from mpiopt.data.coordinates import far_columns
from mpiopt.objective import passes
from mpiopt.objective.centred_columns import CentredColumns
from mpiopt.objective.curvature import curvature, used_columns
from mpiopt.objective.curvature_root import curvature_root, is_affordable
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Objective

Model = NDArray[np.float64]


@dataclass(frozen=True)
class NewtonTuning:
    """Constants of the method."""

    contraction: float = 0.01  # largest ratio of two successive expected decreases with one factor: else a new one
    repeats: int = 10  # further steps with one factor at most: then a new one is cheaper than more steps
    short: float = 0.2  # of a step: if no longer one lowers F enough, the next curvature is that of parabolas above F
    widest_knee: float = 0.25  # of the largest residual: the first knee, with which most rows have curvature
    knee_cut: float = 4.0  # factor by which the knee becomes narrower
    knee_steps: int = 4  # at most for a knee
    knee_gain: float = 0.95  # of F: if a step leaves more, the knee is made narrower
    slow: float = 0.5  # of the decrease that the last step promised: more tells that a damped factor loses too much
    bent: float = 10.0  # factor on the part of a parabola's curvature after a short step
    fading: float = 0.03  # the same after another step
    least_part: float = 1e-10  # a smaller part is none
    few_trials: int = 8  # where rounding hides F's fall: steps that are shorter still only spend epochs
    weak: int = 4  # steps that gain little or are short, after which the interior-point method takes over
    trials: int = 50  # halvings of a step at most: 2^-50 is below rounding


TUNING = NewtonTuning()


class NewtonControl(NamedVector):
    """What the next step must know of the last one."""

    uses = Slot(0)  # steps made with the factor; 0: none; -p: none, and rows get a part p of a parabola's curvature
    decrease = Slot(1)  # expected decrease of the last step
    unrecorded = Slot(2)  # epochs spent before the first step
    weak = Slot(3)  # steps that gained little or were short


class Direction(NamedTuple):
    """A Newton step."""

    p: Model  # (outputs, width)
    decrease: float  # of F, expected by the quadratic model to first order
    singular: bool  # whether the curvature is singular to rounding, so that its factor is damped


@dataclass
class NewtonState:
    """The iterate with its exact value and gradient, and the model of where the factor in use was computed."""

    w: Replicated  # (outputs, width)
    value: Replicated  # (1,) F(w)
    gradient: Replicated  # (outputs, width) of the loss part
    anchor: Replicated  # (outputs, width) where the curvature was computed
    control: Annotated[NewtonControl, Layout.REPLICATED]
    model: Derived  # QuadraticModel, the curvature at the anchor with its factor


@dataclass(frozen=True)
class Newton(Algorithm[NewtonState]):
    """Distributed exact Newton: N·d² work and one exchange of d² numbers a factor; quadratic at the end.

    w ← w + t p, p = argmin g·p + ½ pᵀH p + h(w + p), h the l1 penalty, t by backtracking on exact values.

    ======  ========  ===========================================================
    symbol  field     meaning
    ======  ========  ===========================================================
    w       w         model
    F(w)    value     objective
    –       gradient  gradient of the loss part; g = gradient + ridge · w
    H       model     curvature of loss and ridge, at the anchor
    ======  ========  ===========================================================

    Parameters
    ----------
    limit
        Largest outputs × columns, because H has the square of that.

    References
    ----------
    J. Nocedal, S. Wright, Numerical Optimization (2006), section 3.3; J. D. Lee, Y. Sun, M. A. Saunders, SIAM J.
    Optim. 24 (2014), algorithm 1.
    """

    name: ClassVar[str] = "newton"
    needs: ClassVar[frozenset[str]] = frozenset({"small model"})
    limit: int = 5000

    def __post_init__(self) -> None:
        at_least("newton: limit", self.limit, 1)

    def blank(self, objective: Objective, size: int) -> NewtonState:
        """Return a state at w = 0 without an evaluation."""
        unknowns = objective.outputs * used_columns(objective)
        if unknowns > self.limit:
            raise ValueError(
                f"newton: {unknowns} unknowns need a matrix of {8e-9 * unknowns**2:.1f} GB and are more than "
                f"limit={self.limit}; use --algorithm lbfgs or saga, or newton[limit={unknowns}]"
            )
        w, control = objective.zeros(), NewtonControl.zeros()
        control.decrease = np.inf
        return NewtonState(w, np.zeros(1), w.copy(), w.copy(), control, None)

    def init(self, objective: Objective, channel: Channel) -> NewtonState:
        """Start at the optimum on a part of the rows, or at 0; a quadratic loss needs one step from anywhere."""
        state = self.blank(objective, channel.size)
        start = warm_start.begin(self, objective, channel, not objective.loss.quadratic)
        move_to(state, start.w, start.exact)
        state.control.unrecorded = start.epochs + self._widen_knee(state, objective, channel)
        return state

    def go_on(self, w: Model, exact: Evaluation, objective: Objective, channel: Channel) -> NewtonState:
        """Begin at w with a new factor."""
        state = self.blank(objective, channel.size)
        move_to(state, w, exact)
        if objective.loss.jumps:  # another algorithm was behind: the corners are the likely cause
            state.control.weak = TUNING.weak - 1
        return state

    def _widen_knee(self, state: NewtonState, objective: Objective, channel: Channel) -> float:
        """Start a loss that is linear beyond a knee at the optimum for a wider one; return the epochs; collective.

        Where most residuals are beyond the knee there is hardly any curvature. The loss with a knee k times as wide
        is k² times the loss of z/k and y/k, so it needs the same functions.
        """
        shard, epochs = objective.shard, 0.0
        if objective.loss.knee is None:
            return epochs
        residual = np.abs(objective.predict(state.w)[:, 0] - shard.label)
        width = TUNING.widest_knee * float(channel.max(residual.max(initial=0.0))[0]) / objective.loss.knee
        while width > 1.0:
            easier = objective.with_wider_knee(width)
            easy = self.blank(easier, channel.size)
            move_to(easy, state.w / width, evaluate_exact(easier, state.w / width, channel))
            epochs += 1.0
            for k in range(TUNING.knee_steps):
                before = float(easy.value[0])
                epochs += self.step(k, easy, easier, channel).epochs
                if float(easy.value[0]) > TUNING.knee_gain * before:
                    break
            state.w[...] = easy.w * width
            width /= TUNING.knee_cut
        move_to(state, state.w.copy(), evaluate_exact(objective, state.w, channel))
        return epochs + 1.0

    def rebuild(self, state: NewtonState, objective: Objective, channel: Channel) -> None:
        """Compute the curvature at the anchor again."""
        if state.control.uses > 0.0:
            self._factor(state, objective, channel)  # a root is used once

    def step(self, k: int, state: NewtonState, objective: Objective, channel: Channel) -> StepInfo:
        """Step with the factor in use, or with a new one if that would not contract well."""
        control, quadratic = state.control, objective.loss.quadratic
        if control.weak >= TUNING.weak and clips(objective, channel):
            return self._by_interior_point(state, objective, channel)
        epochs, uses, majorise = control.unrecorded, int(max(control.uses, 0.0)), max(-control.uses, 0.0)
        found = self._direction(state, objective, channel) if uses > 0 else None
        if found is None or not (0 < found.decrease <= TUNING.contraction * control.decrease or quadratic):
            state.anchor[...] = state.w
            found, cost = self._anew(state, objective, channel, majorise)
            epochs, uses = epochs + cost, 0
        t, trials = self._search(state, found, objective, channel)
        uses = uses + 1 if state.model.root is None else 0
        control.uses = uses if quadratic or (uses and t == 1.0 and uses <= TUNING.repeats and not majorise) else 0
        if objective.loss.jumps and not objective.threshold.any():
            control.uses = self._next_part(control.uses, t, majorise)
        elif t < TUNING.short and objective.loss.jumps and not majorise:
            control.uses = -1
        control.weak += t < TUNING.short or not found.decrease <= TUNING.slow * control.decrease
        control.weak += TUNING.weak * (t == 0.0)
        control.decrease, control.unrecorded = found.decrease, 0.0
        return StepInfo(epochs + trials, t, Evaluation(float(state.value[0]), state.gradient.copy()))

    def _by_interior_point(self, state: NewtonState, objective: Objective, channel: Channel) -> StepInfo:
        """Minimise by the interior-point method, which needs no long steps and no curvature, and go on from there."""
        control, shard, d = state.control, objective.shard, used_columns(objective)
        floor = channel.sum(float(shard.weight @ objective.loss.lowest(shard.label)) / shard.total)[0]
        level = max(float(state.value[0] - floor), ROUNDING * abs(float(state.value[0])))
        problem, begin = problem_of(objective), state.w[0, :d]
        if shard.far is None:
            found = minimise(problem, begin, level, channel)
        else:
            centred, distances = (
                CentredColumns(shard.far),
                passes.dense_block(objective.distances, slice(0, len(shard)), d),
            )
            problem = in_centred_columns(problem, centred, distances, channel.rank == 0)
            begin = centred.unknowns(begin)
            found = minimise(problem, begin, level, channel)
            found = found._replace(w=centred.weights(found.w), slopes=found.slopes[: len(shard)])
        epochs = control.unrecorded + 1.0 + STEP_EPOCHS * found.steps
        w = objective.zeros()
        w[0, :d] = found.w
        exact = evaluate_exact(objective, w, channel)
        t = float(exact.value < state.value[0])
        if t:
            move_to(state, w, exact)
        control.uses = control.weak = control.unrecorded = 0.0
        control.decrease = np.inf
        now = Evaluation(float(state.value[0]), state.gradient.copy())
        return StepInfo(epochs + 1.0, t, now, slopes=found.slopes[:, None])

    def _next_part(self, uses: float, t: float, majorise: float) -> float:
        """Return the uses after a step: more of a parabola's curvature after a short step, less after a whole one."""
        if t < TUNING.short:
            return -min(1.0, TUNING.bent * majorise or 1.0)
        part = TUNING.fading * majorise
        return -part if part > TUNING.least_part else uses

    def _search(
        self, state: NewtonState, found: Direction, objective: Objective, channel: Channel
    ) -> tuple[float, int]:
        """Move along the direction; return the step length, 0 if F does not fall, and the epochs."""
        if found.decrease <= 0:
            return 0.0, 0
        jumps = objective.loss.jumps and not objective.threshold.any()
        if jumps and objective.loss.knee is not None:
            return self._search_margins(state, found, objective, channel)
        few = state.model.root is not None or objective.loss.jumps
        most = TUNING.few_trials if few else TUNING.trials
        most = 1 if jumps else most  # halvings end far from the minimum where curvature jumps
        point, trials = backtracking_search(objective, channel, state, found.p, found.decrease, most)
        if point is None and jumps:
            t, more = self._search_margins(state, found, objective, channel)
            return t, trials + more
        if point is None:
            return 0.0, trials
        move_to(state, point.w, point.exact)
        return point.t, trials

    def _search_margins(
        self, state: NewtonState, found: Direction, objective: Objective, channel: Channel
    ) -> tuple[float, int]:
        """Move to the minimum along the direction: where curvature vanishes and returns, halvings end far from it."""
        w, p, ridge = state.w, found.p, objective.ridge
        squares = (float((ridge * a * b).sum()) for a, b in ((w, w), (w, p), (p, p)))
        value = float(state.value[0])
        line = Line(objective.predict(w), objective.predict(p), value, -found.decrease, *squares)
        t = search_length(line, objective, channel).t
        exact = evaluate_exact(objective, w + t * p, channel)
        if not (t > 0.0 and exact.value <= value + ROUNDING * abs(value)):
            return 0.0, 2
        move_to(state, w + t * p, exact)
        return t, 2

    def _factor(self, state: NewtonState, objective: Objective, channel: Channel, majorise: float = 0.0) -> Direction:
        """Factor the curvature at the anchor, and return the direction."""
        h = curvature(objective, state.anchor, channel, majorise)
        state.model = QuadraticModel(h, used_part(objective.threshold, objective))
        return self._direction(state, objective, channel)

    def _anew(
        self, state: NewtonState, objective: Objective, channel: Channel, majorise: float
    ) -> tuple[Direction, float]:
        """Factor the curvature, or the rows if it is singular and steps gain little; return direction and epochs."""
        found = self._factor(state, objective, channel, majorise)
        slow = found.decrease > TUNING.slow * state.control.decrease
        lost = found.singular and (slow or hides(objective, channel))
        if objective.threshold.any():
            lost = state.control.weak >= TUNING.weak
        elif objective.outputs > 1 and not objective.ridge.any():
            lost = False  # what all classes share is always singular, and far out a root stops at what it has lost
        if not (lost and is_affordable(objective, channel)):
            return found, 1.0
        root = curvature_root(objective, state.anchor, channel, majorise)
        state.model = QuadraticModel(state.model.h, state.model.threshold, root)
        return self._direction(state, objective, channel), 2.0

    def _direction(self, state: NewtonState, objective: Objective, channel: Channel) -> Direction:
        """Minimise the model; all ranks take rank 0's answer."""
        g = state.gradient + objective.ridge * state.w
        p = state.model.minimise(used_part(g, objective), used_part(state.w, objective))
        factor = state.model.factor
        damped = isinstance(factor, DampedCholesky) and factor.damping > 0.0
        agreed = channel.of_root(np.append(p, float(damped)))
        full = objective.zeros()
        full[:, : used_columns(objective)] = agreed[:-1].reshape(objective.outputs, -1)
        return Direction(full, -expected_change(objective, state, full), bool(agreed[-1]))


def clips(objective: Objective, channel: Channel) -> bool:
    """Return whether the interior-point method takes the objective, and its rows can be factored; collective."""
    shard = objective.shard
    line = objective.loss.clipped_line(shard.label)
    return line is not None and objective.bounds is None and is_affordable(objective, channel)


def problem_of(objective: Objective) -> ClippedProblem:
    """Return the objective as the interior-point method takes it."""
    shard, d = objective.shard, used_columns(objective)
    line = objective.loss.clipped_line(shard.label)
    if line is None:
        raise RuntimeError(f"the slope of {objective.loss.name} is no clipped line")
    rows, zeros = passes.dense_block(shard.rows, slice(0, len(shard)), d), np.zeros(d)
    weight = shard.weight / shard.total
    return ClippedProblem(rows, weight, line, objective.ridge[:d], objective.threshold[:d], zeros)


def hides(objective: Objective, channel: Channel) -> bool:
    """Return whether columns far from 0, which no intercept centres, hide their differences; collective."""
    shard = objective.shard
    return not shard.intercept and bool(far_columns(shard.rows, shard.weight, shard.features, channel.comm))


def used_part(columns: Model, objective: Objective) -> Model:
    """Return the used columns of a model, or of one vector for every output, as one vector (outputs · used,)."""
    shaped = np.broadcast_to(columns, (objective.outputs, objective.width))
    return np.ascontiguousarray(shaped[:, : used_columns(objective)]).reshape(-1)


def expected_change(objective: Objective, state: NewtonState, p: Model) -> float:
    """Return the change of F to first order, with l1 exact: g·p + h(w + p) - h(w) <= 0."""
    g = state.gradient + objective.ridge * state.w
    return float(first_order_change(state.w, g, p, objective.threshold).sum())
