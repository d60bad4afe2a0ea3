"""Distributed limited-memory BFGS, and its orthant-wise form for an l1 penalty.

D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, Math. Prog. 45 (1989),
algorithm 2.1; the line search is the bisection of A. S. Lewis, M. L. Overton, Nonsmooth optimization via
quasi-Newton methods, Math. Prog. 141 (2013), algorithm 2.6. With l1: G. Andrew, J. Gao, Scalable training of
L1-regularized log-linear models, ICML 2007 (OWL-QN). Where it saves time, the initial matrix is the inverse curvature
of a sample of the rows (R. H. Byrd, G. M. Chin, W. Neveitt, J. Nocedal, SIAM J. Optim. 21 (2011)), elsewhere a
diagonal; with more than 2000 columns it is made anew after 3, 6, 12 … steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import preconditioner, warm_start
from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.cost_model import COSTS
from mpiopt.algorithms.preconditioner import LARGEST_WIDTH, times
from mpiopt.algorithms.second_order.line_search import move_to, orthant_search, wolfe_search
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Derived, Layout, NamedVector, Replicated, Slot
from mpiopt.data.shard import CsrRows
from mpiopt.objective import passes
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.duality_gap import steepest
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.gradient_trail import two_loop
from mpiopt.objective.objective import Objective
from mpiopt.objective.row_hessians import RowHessians

Model = NDArray[np.float64]


@dataclass(frozen=True)
class LbfgsTuning:
    """Constants of the method, found on the data sets of benchmarks/."""

    cheap_sample: float = 10.0  # passes over all rows: a sample that costs no more is taken before the first step
    sample_rows: int = 10  # rows of the first sample for each unknown: with fewer its curvature is mostly noise
    sample_growth: float = 8.0  # factor of the rows from one sample to the next
    matrix_columns: int = 27  # columns at which a curvature costs as much as two passes over the same rows
    slow: float = 0.2  # ratio of two successive gᵀH₀g above which H₀ is computed anew
    stale: float = 0.03  # of the rows' curvature: with a larger change since the anchor, H₀ is out of date
    least_curvature: float = 0.1  # of a row, as a part of its bound: Huber's loss has none far from its target
    least_renewed: float = 0.01  # the same near the optimum, where most rows of a text have little
    first_renewal: float = 3.0  # steps until the curvature of each column is computed anew
    later_renewals: float = 2.0  # factor on the steps from the start to the next time: far off it changes most
    first_trial_part: int = 8  # 1/8 of the rows suffices to choose the length of the first step
    least_bend: float = 1e-16  # of ‖y‖²: a pair with a smaller s·y is rounding and is dropped
    trials: int = 40  # of a line search at most: 2^-40 of a step is below its rounding
    least_length: float = 1e-300  # of a direction, so that its inverse stays finite


TUNING = LbfgsTuning()


@dataclass
class PairWindow:
    """Memory for more pairs than are kept: a new pair moves a window over it, and not all pairs each time.

    Parameters
    ----------
    pairs : ndarray, shape (2, kept + SPARE, outputs, width)
        Steps and changes.
    kept : int
        Pairs in the window, the newest last.
    first : int
        Where the window begins.

    Examples
    --------
    >>> window = PairWindow(np.zeros((2, 3 + PairWindow.SPARE, 1, 2)), kept=3)
    >>> steps, changes = window.moved(in_use=2)
    >>> steps.shape, window.first
    ((3, 1, 2), 1)
    """

    SPARE: ClassVar[int] = 8  # pairs beyond those kept: so many steps pass from one move of all of them to the next
    pairs: Model
    kept: int
    first: int = 0

    def views(self) -> Model:
        """Return steps and changes in the window, shape (2, kept, outputs, width)."""
        return self.pairs[:, self.first : self.first + self.kept]

    def moved(self, in_use: int) -> Model:
        """Move the window on by one pair; `in_use` of them stay, and the last is free. Return the views."""
        if self.first + self.kept < self.pairs.shape[1]:
            self.first += 1
            return self.views()
        oldest, self.first = self.pairs.shape[1] - in_use, 0
        for k in range(in_use):  # one by one: all at once, numpy would copy them to new memory first
            self.pairs[:, self.kept - 1 - in_use + k] = self.pairs[:, oldest + k]
        return self.views()


class LbfgsControl(NamedVector):
    """What the next step must know of the sample and of the last step."""

    sample_factor = Slot(0)  # N over the rows of the sample; 0: no sample
    decrement = Slot(1)  # gᵀH₀g of the last step
    unrecorded = Slot(2)  # epochs spent before the first step
    until_sample = Slot(3)  # epochs until a sample is taken
    steps = Slot(4)  # steps so far
    renewals = Slot(5)  # how often the curvature of each column was computed anew


@dataclass
class LbfgsState:
    """The iterate with its exact value and gradient, and the last m pairs of steps and gradient changes."""

    w: Replicated  # (outputs, width)
    value: Replicated  # (1,) F(w)
    gradient: Replicated  # (outputs, width) of the loss part
    steps: Replicated  # (m, outputs, width) the newest last
    changes: Replicated  # (m, outputs, width) change of the smooth part's gradient along each step
    pairs: Replicated  # (1,) how many of the m are in use
    anchor: Replicated  # (outputs, width) where the curvature of the sample was computed
    control: Annotated[LbfgsControl, Layout.REPLICATED]
    window: Derived  # of which steps and changes are views
    inverse: Derived  # H₀: (blocks, size, size) inverse curvature of the sample, or (1, width) of each column


@dataclass(frozen=True)
class Lbfgs(Algorithm[LbfgsState]):
    """Distributed L-BFGS (orthant-wise with l1): one pass and one exchange of d numbers a trial point.

    w ← w − t H g, H the BFGS matrix of H₀ and the pairs (s_j, y_j), t by line search on exact values.

    ======  ========  =============================================================
    symbol  field     meaning
    ======  ========  =============================================================
    w       w         model
    F(w)    value     objective
    –       gradient  gradient of the loss part; g = gradient + ridge · w
    s_j     steps     steps
    y_j     changes   changes of the smooth part's gradient
    H₀      inverse   initial matrix
    ======  ========  =============================================================

    Parameters
    ----------
    memory
        m, the number of pairs.
    sampled
        Whether H₀ may be the inverse curvature of a sample of the rows, if there are at most 2000 columns.

    References
    ----------
    D. C. Liu, J. Nocedal, Math. Prog. 45 (1989), algorithm 2.1; G. Andrew, J. Gao, ICML 2007.
    """

    name: ClassVar[str] = "lbfgs"
    memory: int = 40
    sampled: bool = True

    def __post_init__(self) -> None:
        at_least("lbfgs: memory", self.memory, 1)

    def blank(self, objective: Objective, size: int) -> LbfgsState:
        """Return a state at w = 0 without an evaluation."""
        w, control = objective.zeros(), LbfgsControl.zeros()
        control.decrement = control.until_sample = np.inf
        window = PairWindow(np.zeros((2, self.memory + PairWindow.SPARE, *w.shape)), self.memory)
        steps, changes = window.views()
        return LbfgsState(
            w, np.zeros(1), w.copy(), steps, changes, np.zeros(1, np.int64), w.copy(), control, window, None
        )

    def init(self, objective: Objective, channel: Channel) -> LbfgsState:
        """Start at the optimum on a part of the rows, or at 0."""
        start = warm_start.begin(self, objective, channel)
        state = self._begin(start.w, start.exact, objective.zeros(), objective, channel)
        state.control.unrecorded += start.epochs
        return state

    def go_on(self, w: Model, exact: Evaluation, objective: Objective, channel: Channel) -> LbfgsState:
        """Begin at w without pairs; a first sample is taken there, or at 0 where it must be (see `_refine`)."""
        anchor = objective.zeros() if _separate_blocks(objective) else w
        return self._begin(w, exact, anchor, objective, channel)

    def _begin(
        self, w: Model, exact: Evaluation, anchor: Model, objective: Objective, channel: Channel
    ) -> LbfgsState:
        """Return a state at w whose initial matrix is of the anchor; collective."""
        state = self.blank(objective, channel.size)
        move_to(state, w, exact)
        state.anchor[...] = anchor
        state.control.until_sample = self._sample_cost(objective, channel)
        if state.control.until_sample <= TUNING.cheap_sample:
            self._choose_sample(state, objective)
        state.control.unrecorded = self._invert(state, objective, channel)
        return state

    def _sample_cost(self, objective: Objective, channel: Channel) -> float:
        """Return the cost of a sample's curvature and its inverse, in passes over the rows; collective."""
        if not self.sampled or used_columns(objective) > LARGEST_WIDTH or objective.threshold.any():
            return np.inf
        shard, unknowns = objective.shard, objective.outputs * used_columns(objective)
        blocks = objective.outputs if _separate_blocks(objective) else 1
        rows = min(shard.total, TUNING.sample_rows * unknowns)
        cost = COSTS.multiply_add * rows + COSTS.inverse * unknowns / blocks
        matrix = blocks * (unknowns / blocks) ** 2 * cost
        number = COSTS.sparse_number if isinstance(shard.rows, CsrRows) else COSTS.number
        stored = channel.sum(float(shard.rows.values.size))[0]
        return float(matrix / (number * objective.outputs * stored))

    def _choose_sample(self, state: LbfgsState, objective: Objective) -> None:
        """Choose the part of the rows that has `sample_rows` rows for each unknown."""
        rows = TUNING.sample_rows * objective.outputs * used_columns(objective)
        state.control.sample_factor = max(1, objective.shard.total // rows)
        state.control.decrement = state.control.until_sample = np.inf
        state.pairs[0] = 0

    def rebuild(self, state: LbfgsState, objective: Objective, channel: Channel) -> None:
        """Compute the initial matrix at the anchor again."""
        self._invert(state, objective, channel)

    def _invert(self, state: LbfgsState, objective: Objective, channel: Channel) -> float:
        """Compute the curvature of the sample, or of each column over all rows, at the anchor.

        Return the epochs that a sample cost because it lacks a column, of which all rows are then asked.
        """
        if not state.control.sample_factor:
            of_columns = _renewed_columns if state.control.renewals else _inverse_of_columns
            state.inverse = of_columns(objective, state.anchor, channel)
            return 0.0
        part = warm_start.first_rows(objective, channel, int(state.control.sample_factor)) or objective
        found = preconditioner.inverse_curvature(part, state.anchor, channel)
        state.inverse = found.inverse
        if (
            part is not objective and _is_known(objective) and found.lacks_a_column(channel)
        ):  # else a step along the column would be much too long
            hessians = RowHessians.at(objective, objective.predict(state.anchor))
            diagonal = channel.sum(hessians.diagonal()).reshape(state.w.shape)
            state.inverse = preconditioner.corrected_inverse(part, state.anchor, diagonal, channel)
            return 1.0
        return 0.0

    def step(self, k: int, state: LbfgsState, objective: Objective, channel: Channel) -> StepInfo:
        """Move along the quasi-Newton direction to a point with sufficient decrease."""
        g = steepest(objective, state.w, state.gradient)
        spent = state.control.unrecorded + self._refine(state, g, objective, channel)
        state.control.unrecorded = 0.0
        p = self._direction(state, g, objective)
        search = orthant_search if objective.threshold.any() else wolfe_search
        t, epochs = self._first_trial(state, p, objective, channel)
        point, trials = search(objective, channel, state, p, g, t, TUNING.trials)
        spent += epochs
        state.control.until_sample -= trials + epochs
        if point is None:  # rounding, or pairs that no longer fit: drop the pairs and try -H₀ g next
            state.pairs[0] = 0
            return StepInfo(spent + trials, 0.0, Evaluation(float(state.value[0]), state.gradient.copy()))
        self._store_pair(state, point.w, point.exact, objective)
        move_to(state, point.w, point.exact)
        return StepInfo(spent + trials, point.t, point.exact)

    def _refine(self, state: LbfgsState, g: Model, objective: Objective, channel: Channel) -> float:
        """Take the first sample if it is time; take a larger one if gᵀH₀g falls slowly. Return the epochs.

        No sample costs more than about two passes over all rows; the pairs do the rest. With one block for each
        output the first sample stays: at 0 it bounds the curvature elsewhere, but near the optimum of rows that are
        classified well it is too small, and the first step would be much too long.
        """
        control = state.control
        if not control.sample_factor:
            if control.until_sample > 0.0:
                return self._renew(state, objective, channel)
            if not _separate_blocks(objective):
                state.anchor[...] = state.w
            self._choose_sample(state, objective)
        else:
            decrement = float((g * times(state.inverse, g)).sum())
            slow = decrement > TUNING.slow * control.decrement
            control.decrement = decrement
            least = max(1.0, state.inverse.shape[1] / TUNING.matrix_columns)
            if not slow or control.sample_factor < least or len(state.inverse) > 1:
                return 0.0
            if control.sample_factor == least and not self._is_stale(state, objective, channel):
                return 0.0 if objective.loss.quadratic else 2.0 / control.sample_factor
            control.sample_factor = max(least, control.sample_factor // TUNING.sample_growth)
            state.anchor[...] = state.w
            state.pairs[0] = 0
        return self._invert(state, objective, channel) + 1.0 / control.sample_factor

    def _renew(self, state: LbfgsState, objective: Objective, channel: Channel) -> float:
        """Compute the curvature of each column anew if it is time; return the epochs. The pairs stay.

        Where the columns are many beside the pairs, H₀ decides about most directions.
        """
        control = state.control
        control.steps += 1.0
        due = TUNING.first_renewal * TUNING.later_renewals**control.renewals
        if control.steps < due or not _is_renewed(objective):
            return 0.0
        control.renewals += 1.0
        state.anchor[...] = state.w
        self.rebuild(state, objective, channel)
        return 1.0

    def _is_stale(self, state: LbfgsState, objective: Objective, channel: Channel) -> bool:
        """Return whether the curvature of the sample's rows has changed since the anchor; collective.

        If not, the same sample again would be no better, and the pairs would be lost.
        """
        if objective.loss.quadratic:
            return False
        part = warm_start.first_rows(objective, channel, int(state.control.sample_factor)) or objective
        shard, bend = part.shard, part.loss.mean_curvature
        before, now = (shard.weight * bend(part.predict(w), shard.label) for w in (state.anchor, state.w))
        change, sum_before = channel.sum(float(np.abs(now - before).sum()), float(before.sum()))
        return bool(change > TUNING.stale * sum_before)

    def _direction(self, state: LbfgsState, g: Model, objective: Objective) -> Model:
        """Return -H g; with l1 only where it descends; -H₀ g without pairs if it does not descend at all."""
        p = _descend(state, g)
        if objective.threshold.any():
            p = np.where(p * g < 0, p, 0.0)
        if float((p * g).sum()) < 0:
            return p
        state.pairs[0] = 0
        return -times(state.inverse, g)

    def _first_trial(
        self, state: LbfgsState, p: Model, objective: Objective, channel: Channel
    ) -> tuple[float, float]:
        """Return the first step length, and its cost in epochs: 1, or the minimum by the curvature of some rows."""
        if state.pairs[0] or state.control.sample_factor:
            return 1.0, 0.0
        part = warm_start.first_rows(objective, channel, TUNING.first_trial_part) or objective
        bend = part.row_curvatures(state.w) @ (part.predict(p) ** 2).sum(axis=1) / part.shard.total
        bend = float(channel.sum(bend)[0]) + float((objective.ridge * p * p).sum())
        slope = float((p * steepest(objective, state.w, state.gradient)).sum())
        length = float(np.sqrt((p * p).sum()))
        t = -slope / bend if bend > 0 else 1.0 / max(length, TUNING.least_length)
        return t, 2.0 * part.shard.total / objective.shard.total

    def _store_pair(self, state: LbfgsState, w: Model, exact: Evaluation, objective: Objective) -> None:
        """Store the step to w and the change of the gradient; drop the oldest pair if there is no room."""
        s = w - state.w
        y = exact.gradient - state.gradient + objective.ridge * s
        if float((s * y).sum()) <= TUNING.least_bend * float((y * y).sum()):
            return
        kept = min(int(state.pairs[0]), self.memory - 1)
        state.steps, state.changes = state.window.moved(kept)
        state.steps[-1], state.changes[-1] = s, y
        state.pairs[0] = kept + 1


def _is_renewed(objective: Objective) -> bool:
    """Return whether the curvature of the columns changes, is known, and will not be that of a sample."""
    smooth = not (objective.loss.quadratic or objective.threshold.any())
    return smooth and _is_known(objective) and used_columns(objective) > LARGEST_WIDTH


def _is_known(objective: Objective) -> bool:
    """Return whether the curvature of each row is that of one output, or of softmax."""
    return objective.outputs == 1 or objective.loss.name == "softmax"


def _separate_blocks(objective: Objective) -> bool:
    """Return whether H₀ has one block for each output instead of one for all together."""
    return not (objective.outputs == 1 or preconditioner.is_coupled(objective))


def _descend(state: LbfgsState, g: Model) -> Model:
    """Return -H g, H the inverse BFGS matrix of the stored pairs."""
    in_use = slice(len(state.steps) - int(state.pairs[0]), None)
    s, y = (pairs[in_use].reshape(-1, g.size) for pairs in (state.steps, state.changes))
    return -two_loop(s, y, g, lambda x: times(state.inverse, x), rescaled=not state.control.sample_factor)


def _inverse_of_columns(objective: Objective, w: Model, channel: Channel) -> Model:
    """Return 1/((1/N) Σ c_i x_ij² + l2) for each column, shape (1, width); 0 for an empty column.

    A row counts with `least_curvature` of its largest curvature at least.
    """
    c, least = objective.row_curvatures(w), TUNING.least_curvature * (objective.loss.curvature_bound or 0.0)
    squares = passes.column_squares(objective.shard.rows, np.maximum(c, least * objective.shard.weight))
    bend = channel.sum(squares / objective.shard.total) + objective.ridge
    return np.divide(1.0, bend, out=np.zeros_like(bend), where=bend > 0)[None]


def _renewed_columns(objective: Objective, w: Model, channel: Channel) -> Model:
    """Return the inverse curvature of each column and output, shape (outputs, width); 0 for an empty column."""
    hessians, least = RowHessians.at(objective, objective.predict(w)), TUNING.least_renewed
    each = hessians.output_curvatures()
    floor = least * (objective.loss.curvature_bound or 0.0) * objective.shard.weight
    squares = [passes.column_squares(objective.shard.rows, np.maximum(c, floor)) for c in each]
    total = channel.sum(np.stack(squares) / objective.shard.total).reshape(w.shape)
    bend = total + objective.ridge
    return np.divide(1.0, bend, out=np.zeros_like(bend), where=bend > 0)
