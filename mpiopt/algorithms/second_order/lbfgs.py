"""Distributed limited-memory BFGS, and its orthant-wise form where there is an l1 penalty.

D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, Math. Prog. 45 (1989),
algorithm 2.1; the line search is the bisection of A. S. Lewis, M. L. Overton, Nonsmooth optimization via
quasi-Newton methods, Math. Prog. 141 (2013), algorithm 2.6. With l1: G. Andrew, J. Gao, Scalable training of
L1-regularized log-linear models, ICML 2007 (OWL-QN). Where it pays, the first matrix is the inverse curvature of a
sample of the rows (R. H. Byrd, G. M. Chin, W. Neveitt, J. Nocedal, SIAM J. Optim. 21 (2011)), elsewhere a diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import preconditioner, warm_start
from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.cost_model import INVERSE, MULTIPLY, NUMBER, SPARSE
from mpiopt.algorithms.second_order.line_search import TrialPoint, orthant_search, wolfe_search
from mpiopt.compress.channel import Channel
from mpiopt.core.state import Derived, Replicated
from mpiopt.data.shard import CsrRows
from mpiopt.objective import passes
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.objective import Objective

Model = NDArray[np.float64]
LARGEST = 2000  # columns of a model whose curvature is sampled
CHEAP = 10.0  # passes: a sample that costs no more is taken at once, another when as many are spent without it
ENOUGH = 10  # rows of a sample for each unknown
PASSES = 27  # columns of a curvature that costs as much as two passes over the same rows
SLOW = 0.2
BENT = 0.1
LOOK = 8  # part 1/LOOK of the rows tells how long the first step is


@dataclass
class LbfgsState:
    """The iterate with its exact value and gradient, and the last m pairs of steps and gradient changes."""

    w: Replicated  # (outputs, width)
    value: Replicated  # (1,) F(w)
    gradient: Replicated  # (outputs, width) of the loss part
    steps: Replicated  # (m, outputs, width) the newest last
    changes: Replicated  # (m, outputs, width) change of the smooth part's gradient along each step
    pairs: Replicated  # (1,) how many of the m are filled
    anchor: Replicated  # (outputs, width) where the curvature of the sample was taken
    control: Replicated  # (4,) N over the rows of the sample, or 0; gᵀH₀g of the last step; epochs unrecorded;
    # epochs until a sample is taken
    inverse: Derived  # H₀: (blocks, size, size) inverse curvature of the sample, or (1, width) of each column


@dataclass(frozen=True)
class Lbfgs(Algorithm[LbfgsState]):
    """Distributed L-BFGS (orthant-wise with l1): one pass and one exchange of d numbers a trial point."""

    name: ClassVar[str] = "lbfgs"
    memory: int = 40
    max_trials: int = 40
    sampled: bool = True  # start from the curvature of a sample of the rows, where the unknowns are few

    def __post_init__(self) -> None:
        if self.memory < 1 or self.max_trials < 1:
            raise ValueError(f"lbfgs: memory and max_trials must be at least 1, not {self.memory}, {self.max_trials}")

    def blank(self, objective: Objective, size: int) -> LbfgsState:
        """Make a state at w = 0 without an evaluation."""
        w = objective.zeros()
        history = np.zeros((self.memory, *w.shape))
        pairs, control = np.zeros(1, np.int64), np.array([0.0, np.inf, 0.0, np.inf])
        return LbfgsState(w, np.zeros(1), w.copy(), history, history.copy(), pairs, w.copy(), control, None)

    def init(self, objective: Objective, channel: Channel) -> LbfgsState:
        """Start at the optimum of a part of the rows, or at 0."""
        state = self.blank(objective, channel.size)
        start = warm_start.begin(self, objective, channel)
        state.w[...], state.value[0], state.gradient[...] = start.w, start.exact.value, start.exact.gradient
        price = self._price(objective, channel)
        state.control[2:] = start.epochs, price
        if price <= CHEAP:
            self._sample(state, objective)
        self.rebuild(state, objective, channel)
        return state

    def _price(self, objective: Objective, channel: Channel) -> float:
        """Give the price of the curvature of a sample and its inverse in passes over the rows; collective."""
        if not self.sampled or used_columns(objective) > LARGEST or objective.threshold.any():
            return np.inf
        shard, unknowns = objective.shard, objective.outputs * used_columns(objective)
        blocks = 1 if objective.outputs == 1 or preconditioner.coupled(objective) else objective.outputs
        sample = min(shard.total, ENOUGH * unknowns)
        matrix = blocks * (unknowns / blocks) ** 2 * (MULTIPLY * sample + INVERSE * unknowns / blocks)
        number = SPARSE if isinstance(shard.rows, CsrRows) else NUMBER
        stored = channel.sum(float(shard.rows.values.size))[0]
        return float(matrix / (number * objective.outputs * stored))

    def _sample(self, state: LbfgsState, objective: Objective) -> None:
        """Choose the part 1/f of the rows that has ENOUGH rows for each unknown."""
        state.control[0] = max(1, objective.shard.total // (ENOUGH * objective.outputs * used_columns(objective)))
        state.control[1], state.control[3], state.pairs[0] = np.inf, np.inf, 0

    def rebuild(self, state: LbfgsState, objective: Objective, channel: Channel) -> None:
        """Take the curvature of the sample, or of each column over all rows, at the anchor again."""
        if not state.control[0]:
            state.inverse = _of_columns(objective, state.anchor, channel)
            return
        part = warm_start.first_rows(objective, channel, int(state.control[0])) or objective
        state.inverse = preconditioner.inverse_curvature(part, state.anchor, channel)

    def step(self, k: int, state: LbfgsState, objective: Objective, channel: Channel) -> StepInfo:
        """Move along the quasi-Newton direction to a point of sufficient decrease."""
        g = steepest(objective, state.w, state.gradient)
        spent = float(state.control[2]) + self._refined(state, g, objective, channel)
        state.control[2] = 0.0
        p = self._direction(state, g, objective)
        search = orthant_search if objective.threshold.any() else wolfe_search
        first, looked = self._first_trial(state, p, objective, channel)
        point, trials = search(objective, channel, state, p, g, first, self.max_trials)
        spent += looked
        state.control[3] -= trials + looked
        if point is None:  # rounding or stale curvature: forget the pairs and try the plain gradient next
            state.pairs[0] = 0
            return StepInfo(spent + trials, 0.0, Evaluation(float(state.value[0]), state.gradient.copy()))
        self._remember(state, point, objective)
        state.w[...], state.value[0], state.gradient[...] = point.w, point.exact.value, point.exact.gradient
        return StepInfo(spent + trials, point.t, point.exact)

    def _refined(self, state: LbfgsState, g: Model, objective: Objective, channel: Channel) -> float:
        """Take the curvature anew, of more rows, where gᵀH₀g fell by less than SLOW; give the epochs.

        No sample is taken that costs more than about two passes over all rows: the pairs do the rest. With a block
        for each output it stays that of the start: at 0 it bounds the curvature elsewhere, near the
        optimum of rows that are told apart well it is too small, and the first step much too long.
        """
        if not state.control[0] and state.control[3] > 0.0:
            return 0.0
        if not state.control[0]:
            if objective.outputs == 1 or preconditioner.coupled(objective):
                state.anchor[...] = state.w
            self._sample(state, objective)
            self.rebuild(state, objective, channel)
            return float(1.0 / state.control[0])
        size = float((g * _times(state.inverse, g)).sum())
        slow = size > SLOW * state.control[1]
        state.control[1] = size
        dearest = max(1.0, state.inverse.shape[1] / PASSES)
        known = objective.loss.quadratic and state.control[0] == 1.0
        if not slow or known or len(state.inverse) > 1 or state.control[0] < dearest:
            return 0.0
        state.control[0] = max(dearest, state.control[0] // 8.0)
        state.anchor[...] = state.w
        state.pairs[0] = 0
        self.rebuild(state, objective, channel)
        return float(1.0 / state.control[0])

    def _direction(self, state: LbfgsState, g: Model, objective: Objective) -> Model:
        p = two_loop(state, g)
        if objective.threshold.any():
            p = np.where(p * g < 0, p, 0.0)  # keep what goes down the pseudo-gradient
        if float((p * g).sum()) < 0:
            return p
        state.pairs[0] = 0
        return -_times(state.inverse, g)

    def _first_trial(
        self, state: LbfgsState, p: Model, objective: Objective, channel: Channel
    ) -> tuple[float, float]:
        """Give the length to try first, and epochs: 1, or the minimum along p by the curvature of some rows."""
        if state.pairs[0] or state.control[0]:
            return 1.0, 0.0
        part = warm_start.first_rows(objective, channel, LOOK) or objective
        bend = part.row_curvatures(state.w) @ (part.predict(p) ** 2).sum(axis=1) / part.shard.total
        bend = float(channel.sum(bend)[0]) + float((objective.ridge * p * p).sum())
        slope = float((p * steepest(objective, state.w, state.gradient)).sum())
        size = float(np.sqrt((p * p).sum()))
        t = -slope / bend if bend > 0 else 1.0 / max(size, 1e-300)
        return t, 2.0 * part.shard.total / objective.shard.total

    def _remember(self, state: LbfgsState, point: TrialPoint, objective: Objective) -> None:
        s = point.w - state.w
        y = point.exact.gradient - state.gradient + objective.ridge * s
        if float((s * y).sum()) <= 1e-16 * float((y * y).sum()):
            return
        kept = min(int(state.pairs[0]), self.memory - 1)
        for history, newest in ((state.steps, s), (state.changes, y)):
            history[-kept - 1 : -1] = history[len(history) - kept :]
            history[-1] = newest
        state.pairs[0] = kept + 1


def steepest(objective: Objective, w: Model, gradient: Model) -> Model:
    """Give the gradient of F, with l1 the subgradient of least norm (OWL-QN's pseudo-gradient)."""
    g = gradient + objective.ridge * w
    shrunk = np.sign(g) * np.maximum(np.abs(g) - objective.threshold, 0.0)
    return np.where(w == 0, shrunk, g + np.sign(w) * objective.threshold)


def two_loop(state: LbfgsState, g: Model) -> Model:
    """Give -H g, H the inverse BFGS matrix of the remembered pairs."""
    filled = slice(len(state.steps) - int(state.pairs[0]), None)
    s, y = (pairs[filled].reshape(-1, g.size) for pairs in (state.steps, state.changes))
    q, bends, weights = g.reshape(-1).copy(), np.einsum("ij,ij->i", s, y), np.zeros(len(s))
    for i in reversed(range(len(s))):
        weights[i] = s[i] @ q / bends[i]
        q -= weights[i] * y[i]
    q = _times(state.inverse, q.reshape(g.shape)).reshape(-1)
    if len(s) and not state.control[0]:
        q *= bends[-1] / float(y[-1] @ _times(state.inverse, y[-1].reshape(g.shape)).reshape(-1))
    for i in range(len(s)):
        q += (weights[i] - y[i] @ q / bends[i]) * s[i]
    return -q.reshape(g.shape)


def _of_columns(objective: Objective, w: Model, channel: Channel) -> Model:
    """Give 1/((1/N) Σ c_i x_ij² + l2) for each column, shape (1, width); 0 for a column that is empty.

    A row counts with BENT of its largest curvature at least: Huber's loss has none where it is far from its target.
    """
    c, least = objective.row_curvatures(w), BENT * (objective.loss.curvature_bound or 0.0)
    squares = passes.column_squares(objective.shard.rows, np.maximum(c, least * objective.shard.weight))
    bend = channel.sum(squares / objective.shard.total) + objective.ridge
    return np.divide(1.0, bend, out=np.zeros_like(bend), where=bend > 0)[None]


def _times(inverse: Model, g: Model) -> Model:
    """Give H₀ g, one block of H₀ for all outputs together or one for each.

    With one for each, what all outputs have in common is left out: softmax does not see it, and the ridge keeps it 0.
    """
    if inverse.ndim == 2:
        return inverse * g
    if len(inverse) == 1:
        return np.asarray(inverse[0] @ g.reshape(-1)).reshape(g.shape)
    p = np.einsum("cij,cj->ci", inverse, g - g.mean(axis=0))
    return np.asarray(p - p.mean(axis=0))
