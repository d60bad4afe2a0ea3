"""Local steps without a full preconditioner: blocks of 8 rows (or 1), a step size for each column."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga import lipschitz, step_size_search
from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.algorithms.saga.local_steps import next_blocks, order_seed, rows_in
from mpiopt.algorithms.saga.options import SagaOptions
from mpiopt.algorithms.saga.state import SagaState, SharedModel, StepControl, WorkCounters
from mpiopt.algorithms.saga.step_size import StepLength, length_of
from mpiopt.algorithms.saga.step_size_search import PeriodResult
from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.compress.channel import Channel
from mpiopt.compress.whitening import Coordinates, Scaled
from mpiopt.data.read_ahead import stretch_of
from mpiopt.kernels.dense import BLOCK
from mpiopt.kernels.permutations import Starts, drawn, in_stretches, shuffled
from mpiopt.kernels.polling import Poll
from mpiopt.objective import passes
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.duality_gap import prox_gradient
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]


@dataclass
class PlainSteps:
    """w_j ← prox(w_j − γ_j (θ/b u_j + corr_j + l2 w_j)) with γ_j = scale · γ / D_j; corr is that of the variant."""

    options: SagaOptions
    batch: int  # b, rows in a step
    refresh: float  # epochs between two refreshes
    length: StepLength  # γ
    column: Vector  # (width,) 1/D_j; 1 without a preconditioner
    used: int  # columns in use
    longest: float  # the largest scale: 1 where the step is set by hand or by a rule

    @classmethod
    def choose(cls, options: SagaOptions, state: SagaState, objective: Objective, channel: Channel) -> PlainSteps:
        """Measure smoothness constants at the anchor; choose step, batch and refresh; collective."""
        batch = options.batch or (1 if options.sampling == "uniform" else BLOCK)
        column = _column_scale(options.preconditioner, state.anchor, objective, channel)
        length = length_of(options, batch, objective, state.anchor, column, channel)
        chosen = TUNING.refresh_epochs if channel.size > 1 else TUNING.refresh_epochs_alone
        refresh = chosen if options.refresh < 0.0 else options.refresh
        longest = math.inf if options.rule is None else 1.0
        return cls(options, batch, refresh, length, column, used_columns(objective), longest)

    def chord(self, state: SagaState, objective: Objective, channel: Channel) -> Model | None:
        """Return None: without a preconditioner such a step gains too little."""
        return None

    def step_size(self, control: StepControl, work: WorkCounters) -> float:
        """Return γ·scale."""
        return self.length.gamma(control, work) * control.scale

    def coordinates(self) -> Coordinates:
        """Return those in which the scaled columns have equal curvature."""
        if (self.column == 1.0).all():
            return Scaled(np.ones(self.used), len(self.column))
        return Scaled(np.sqrt(self.column[: self.used]), len(self.column))

    def run(
        self, state: SagaState, objective: Objective, channel: Channel, poll: Poll | None = None, epochs: float = 0.0
    ) -> None:
        """Visit the next blocks of the local order, with the correction of the variant."""
        n, total = len(objective.shard), objective.shard.total
        if n == 0:
            return
        variant, blocks, part = self.options.variant, -(-n // self.batch), n / total
        average = self._correction(state, part)
        before = average.copy()
        innovation = (part if variant == "C" else 1.0) * blocks / n
        share = {"A": 1.0 / n, "E": 1.0 / n, "D": 0.0}.get(variant, 1.0 / total)
        form = "lazy" if self.options.lazy else "sparse"
        wanted = max(1, round((epochs or state.control.round_epochs) * blocks))
        stretch = stretch_of(objective.shard.rows, self.batch)
        for order in self._order(state.cursor, n, wanted, channel, stretch):
            for starts in self.length.cut(order, blocks):
                self.length.measure(state.work, objective, state.local, self.column, starts)
                step = self.column * self.step_size(state.control, state.work)
                call = SagaCall(starts, step, innovation, share, self.batch, form, poll)
                local_steps(objective, call, state.local, average, state.table)
            state.work.visited += rows_in(order, self.batch, n)
        if variant == "D":
            state.own[...] = passes.weighted_row_sum(objective.shard.rows, state.table) / total
        else:
            state.own += (average - before) * (part if variant in "AE" else 1.0)

    def _correction(self, state: SagaState, part: float) -> Model:
        """Return corr of the variant, see `Saga`."""
        if self.options.variant == "D":
            return np.array(state.average)
        if self.options.variant == "E":
            return np.asarray(state.own / part)
        whole = 1.0 / part if self.options.variant == "A" else 1.0
        return np.asarray(state.average + (state.own - state.shared) * whole)

    def _order(self, cursor: NDArray[np.int64], n: int, wanted: int, channel: Channel, stretch: int) -> list[Starts]:
        """Return the next `wanted` blocks: of seeded permutations, one for each local epoch, or drawn uniformly.

        Rows in a file are visited in stretches of so many blocks.
        """
        if self.options.sampling == "uniform":
            cursor[0] += 1
            return [drawn(n, self.batch, wanted, order_seed(channel.seed, int(cursor[0]) - 1, channel.rank))]

        def order_of(epoch: int) -> Starts:
            seed = order_seed(channel.seed, epoch, channel.rank)
            return in_stretches(n, self.batch, stretch, seed) if stretch else shuffled(n, self.batch, seed)

        return next_blocks(cursor, -(-n // self.batch), wanted, order_of)

    def agree(self, change: SharedModel, control: StepControl, work: WorkCounters, channel: Channel) -> None:
        """Agree on γ after an exchange; collective."""
        self.length.agree(change, control, work, channel)

    def adapt(self, state: SagaState, exact: Evaluation, cuts: int, objective: Objective, channel: Channel) -> float:
        """Search the longest step that lets F fall (`step_size_search`); it costs no epochs."""
        gradient_map, control = prox_gradient(objective, state.w, exact), state.control
        squared = float((gradient_map * gradient_map * self.column).sum())
        period = PeriodResult(exact.value, squared, cuts, channel.compresses)
        too_far = step_size_search.search(control, period, self.longest)
        if too_far and channel.size > 1 and self.options.local_steps <= 0:
            control.round_epochs = max(TUNING.least_round, TUNING.round_cut * control.round_epochs)
        return 0.0


def _column_scale(preconditioner: str, w: Model, objective: Objective, channel: Channel) -> Vector:
    """Return 1/D_j for the diagonal preconditioner or for unlike columns, else 1; collective."""
    ones = np.ones(objective.width)
    unpenalised = channel.compresses and not any(objective.penalty.strengths)
    if preconditioner not in ("auto", "diagonal") and not unpenalised:
        return ones
    column = lipschitz.scaling(objective, w, channel)
    if preconditioner == "diagonal" or (preconditioner == "auto" and lipschitz.is_uneven(column)):
        return column
    # Without a penalty, nothing brings back a column that no row has: compression must not move it.
    return np.sign(column) if unpenalised else ones
