"""Local work without a full metric: steps of 8 rows (or 1), one step size for each column, the five corrections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga import lipschitz, step_size_search
from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.algorithms.saga.options import SagaOptions
from mpiopt.algorithms.saga.state import (
    ORDER_STREAM,
    ROUND,
    SCALE,
    VISITED,
    ExchangeState,
    SagaState,
    rows_from,
    upcoming,
)
from mpiopt.algorithms.saga.step_size import StepLength, length_of
from mpiopt.algorithms.saga.step_size_search import PeriodResult
from mpiopt.compress.channel import Channel
from mpiopt.compress.whitening import Coordinates, Scaled
from mpiopt.core import rng
from mpiopt.kernels.permutations import Starts, drawn, shuffled
from mpiopt.kernels.polling import Poll
from mpiopt.objective import passes
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.duality_gap import prox_gradient
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]


@dataclass
class PlainSteps:
    """w_j ← prox(w_j − γ_j (θ/b u_j + corr_j + l2 w_j)), γ_j = scale · γ / D_j."""

    variant: str
    batch: int
    sampling: str
    form: str
    refresh: float
    seed: int
    length: StepLength  # of the steps, γ
    column: Vector  # (width,) 1/D_j; 1 without a preconditioner
    used: int  # columns in use
    fixed: bool  # H is given by hand
    most: float  # the longest step, in γ: 1 by hand or by a rule

    @classmethod
    def at(
        cls, options: SagaOptions, state: SagaState, objective: Objective, channel: Channel, preconditioner: str
    ) -> PlainSteps:
        """Measure the smoothness constants and choose step, batch and refresh; collective."""
        batch = options.batch or (1 if options.sampling == "uniform" else 8)
        column = np.ones(objective.width)
        noisy = channel.compresses and not any(objective.penalty.strengths)
        if preconditioner in ("auto", "diagonal") or noisy:
            scaled = lipschitz.scaling(objective, state.anchor, channel)
            if preconditioner == "diagonal" or (preconditioner == "auto" and lipschitz.uneven(scaled[scaled > 0.0])):
                column = scaled
            elif noisy:  # nothing would bring a column back that no row has
                column = np.sign(scaled)
        length = length_of(options, batch, objective, state.anchor, column, channel)
        chosen = 2.0 if channel.size > 1 else 3.0
        refresh = chosen if options.refresh < 0.0 else options.refresh
        fixed = options.local_steps > 0
        form = "lazy" if options.lazy else "sparse"
        return cls(
            options.variant,
            batch,
            options.sampling,
            form,
            refresh,
            channel.seed,
            length,
            column,
            used_columns(objective),
            fixed,
            math.inf if options.rule is None else 1.0,
        )

    def step_size(self, state: SagaState) -> float:
        """Give γ·scale."""
        return self.length.gamma(state) * float(state.control[SCALE])

    def coordinates(self) -> Coordinates:
        """Give those in which the scaled columns bend alike."""
        if (self.column == 1.0).all():
            return Scaled(np.ones(self.used), len(self.column))
        return Scaled(np.sqrt(self.column[: self.used]), len(self.column))

    def run(
        self, state: SagaState, objective: Objective, channel: Channel, poll: Poll | None = None, epochs: float = 0.0
    ) -> None:
        """Visit the next blocks of the local order, with the correction of the variant."""
        shard = objective.shard
        n = len(shard)
        if n == 0:
            return
        blocks, part = -(-n // self.batch), n / shard.total
        average = self._correction(state, part)
        before = average.copy()
        theta = part if self.variant == "C" else 1.0
        share = {"A": 1.0 / n, "E": 1.0 / n, "D": 0.0}.get(self.variant, 1.0 / shard.total)
        wanted = max(1, round((epochs or float(state.control[ROUND])) * blocks))
        found = self._starts(state.cursor, n, blocks, wanted, channel.rank)
        for starts in found:
            for piece in self.length.pieces(starts, blocks):
                self.length.look(state, objective, self.column, piece)
                step = self.column * self.step_size(state)
                moves = SagaCall(piece, step, theta * blocks / n, share, self.batch, self.form, poll)
                local_steps(objective, moves, state.local, average, state.table)
            state.work[VISITED] += rows_from(starts, self.batch, n)
        if self.variant == "D":
            state.own[...] = own_average(objective, state.table)
        else:
            state.own += (average - before) * (part if self.variant in "AE" else 1.0)

    def agree(self, was: ExchangeState, state: SagaState, channel: Channel) -> None:
        """Agree on the length of the steps."""
        self.length.agree(was, state, channel)

    def _correction(self, state: SagaState, part: float) -> Model:
        if self.variant == "D":
            return np.array(state.average)
        if self.variant == "E":
            return np.asarray(state.own / part)
        whole = 1.0 / part if self.variant == "A" else 1.0
        return np.asarray(state.average + (state.own - state.shared) * whole)

    def _starts(self, cursor: NDArray[np.int64], n: int, blocks: int, wanted: int, rank: int) -> list[Starts]:
        """Give the next `wanted` blocks in pieces: of seeded permutations, one a local epoch, or drawn uniformly."""
        if self.sampling == "uniform":
            cursor[0] += 1
            return [drawn(n, self.batch, wanted, self._seed(int(cursor[0]) - 1, rank))]
        return upcoming(cursor, blocks, wanted, lambda epoch: shuffled(n, self.batch, self._seed(epoch, rank)))

    def _seed(self, epoch: int, rank: int) -> int:
        return rng.seed_of(self.seed, ORDER_STREAM, epoch, rank)

    def adapt(self, state: SagaState, exact: Evaluation, tried: int, objective: Objective, channel: Channel) -> float:
        """Seek the longest step that lets F fall (`mpiopt.algorithms.saga.step_size_search`); costs nothing."""
        map_ = prox_gradient(objective, state.w, exact)
        squared = float((map_ * map_ * self.column).sum())
        control = state.control
        drifted = step_size_search.sought(
            control, PeriodResult(exact.value, squared, tried, channel.compresses), self.most
        )
        if drifted and channel.size > 1 and not self.fixed:
            control[ROUND] = max(1 / 64, 0.5 * control[ROUND])
        return 0.0


def own_average(objective: Objective, table: Model) -> Model:
    """Give g_k = (1/N) Σ_i table_i x_iᵀ anew, one pass over the rows."""
    shard = objective.shard
    return passes.weighted_row_sum(shard.rows, table) / shard.total
