"""Distributed exact Newton: the curvature summed over the ranks, a Cholesky factor, a line search on exact values.

J. Nocedal, S. Wright, Numerical Optimization (2006), section 3.3; with l1 proximal Newton, J. D. Lee, Y. Sun,
M. A. Saunders, SIAM J. Optim. 24 (2014), algorithm 1. A factor serves for further steps while they contract well
(V. E. Shamanskii, Ukr. Math. J. 19 (1967)): for the squared loss these are iterative refinement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import warm_start
from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.second_order.l1_quadratic import Quadratic
from mpiopt.compress.channel import Channel
from mpiopt.core.state import Derived, Replicated
from mpiopt.objective.curvature import curvature, used_columns
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Objective

Model = NDArray[np.float64]
ARMIJO = 1e-4
ROUNDING = 1e-14  # two objective values nearer than this, relatively, are not told apart
CONTRACTION = 0.01  # of the expected decrease, from one use of a factor to the next
USES, DECREASE, SPENT = range(3)  # places in State.control


@dataclass
class NewtonState:
    """The iterate with its exact value and gradient, and where the factor in use was made."""

    w: Replicated  # (outputs, width)
    value: Replicated  # (1,) F(w)
    gradient: Replicated  # (outputs, width) of the loss part
    anchor: Replicated  # (outputs, width) where the curvature was taken
    control: Replicated  # (3,) steps made with its factor, 0: none is held; expected decrease then; epochs unrecorded
    model: Derived  # Quadratic, the curvature at the anchor with its factor


@dataclass(frozen=True)
class Newton(Algorithm[NewtonState]):
    """Distributed exact Newton: N·d² work and one exchange of d² numbers a factor; quadratic at the end."""

    name: ClassVar[str] = "newton"
    needs: ClassVar[frozenset[str]] = frozenset({"small model"})
    repeats: int = 10  # further steps with the same factor
    limit: int = 5000  # largest outputs × columns

    def __post_init__(self) -> None:
        if self.repeats < 0 or self.limit < 1:
            raise ValueError(f"newton: repeats >= 0 and limit >= 1, not {self.repeats} and {self.limit}")

    def blank(self, objective: Objective, size: int) -> NewtonState:
        """Make a state at w = 0 without an evaluation."""
        unknowns = objective.outputs * used_columns(objective)
        if unknowns > self.limit:
            raise ValueError(
                f"newton: {unknowns} unknowns need a matrix of {8e-9 * unknowns**2:.1f} GB and are more than "
                f"limit={self.limit}; use --algorithm lbfgs or saga, or newton[limit={unknowns}]"
            )
        w = objective.zeros()
        return NewtonState(w, np.zeros(1), w.copy(), w.copy(), np.array([0.0, np.inf, 0.0]), None)

    def init(self, objective: Objective, channel: Channel) -> NewtonState:
        """Start at the optimum of a part of the rows, or at 0."""
        state = self.blank(objective, channel.size)
        start = warm_start.begin(self, objective, channel)
        state.w[...], state.value[0], state.gradient[...] = start.w, start.exact.value, start.exact.gradient
        state.control[SPENT] = start.epochs
        return state

    def rebuild(self, state: NewtonState, objective: Objective, channel: Channel) -> None:
        """Take the curvature at the anchor again."""
        if state.control[USES]:
            self._factor(state, objective, channel)

    def step(self, k: int, state: NewtonState, objective: Objective, channel: Channel) -> StepInfo:
        """Step with the factor that is held, or with a new one where that would not contract well."""
        passes, before, spent = 0, float(state.control[DECREASE]), float(state.control[SPENT])
        p, decrease = self._direction(state, objective, channel) if state.control[USES] else (None, 0.0)
        if p is None or not (0 < decrease <= CONTRACTION * before or objective.loss.quadratic):
            state.anchor[...], passes = state.w, 1
            self._factor(state, objective, channel)
            p, decrease = self._direction(state, objective, channel)
        t, trials = line_search(objective, channel, state, p, decrease) if decrease > 0 else (0.0, 0)
        uses = int(state.control[USES]) * (passes == 0) + 1
        kept = objective.loss.quadratic or (t == 1.0 and uses <= self.repeats)
        state.control[:] = uses * kept, decrease, 0.0
        return StepInfo(spent + passes + trials, t, Evaluation(float(state.value[0]), state.gradient.copy()))

    def _factor(self, state: NewtonState, objective: Objective, channel: Channel) -> None:
        state.model = Quadratic(curvature(objective, state.anchor, channel), flat(objective.threshold, objective))

    def _direction(self, state: NewtonState, objective: Objective, channel: Channel) -> tuple[Model, float]:
        # Rank 0's answer, so that another processor's rounding can not part the ranks.
        g = state.gradient + objective.ridge * state.w
        p = state.model.minimise(flat(g, objective), flat(state.w, objective))
        agreed = channel.sum(p if channel.rank == 0 else np.zeros_like(p))
        full = objective.zeros()
        full[:, : used_columns(objective)] = agreed.reshape(objective.outputs, -1)
        return full, -expected_change(objective, state, full)


def flat(columns: Model, objective: Objective) -> Model:
    """Give the used columns of a model, or of one vector for every output, as one vector (outputs · used,)."""
    shaped = np.broadcast_to(columns, (objective.outputs, objective.width))
    return np.ascontiguousarray(shaped[:, : used_columns(objective)]).reshape(-1)


def expected_change(objective: Objective, state: NewtonState, p: Model) -> float:
    """Give the change of F's model to first order, l1 exactly: g·p + h(w + p) - h(w) <= 0."""
    g = state.gradient + objective.ridge * state.w
    sign = np.sign(state.w)
    kink = objective.threshold * (np.abs(state.w + p) - np.abs(state.w))
    same = sign * np.sign(state.w + p) > 0  # here g and l1 cancel: add them before the product
    return float(np.where(same, (g + sign * objective.threshold) * p, g * p + kink).sum())


def line_search(
    objective: Objective, channel: Channel, state: NewtonState, p: Model, decrease: float
) -> tuple[float, int]:
    """Move `state` by the first of p, p/2, p/4 … with sufficient decrease; give the fraction and the trials."""
    t, value = 1.0, float(state.value[0])
    for trial in range(1, 51):
        w = state.w + t * p
        exact = evaluate_exact(objective, w, channel)
        if exact.value <= value - ARMIJO * t * decrease + ROUNDING * abs(value):
            state.w[...], state.value[0], state.gradient[...] = w, exact.value, exact.gradient
            return t, trial
        t *= 0.5
    return 0.0, 50
