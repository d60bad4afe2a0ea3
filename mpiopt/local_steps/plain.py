"""Local work without a full metric: steps of 8 rows (or 1), one step size for each column, the five corrections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpiopt import randomness
from mpiopt.algorithms import Exact, Model
from mpiopt.certificate import prox_gradient
from mpiopt.channel import Channel
from mpiopt.coordinates import Coordinates, Same, Scaled
from mpiopt.curvature import used
from mpiopt.kernels import rows
from mpiopt.kernels.orders import Starts, drawn, shuffled
from mpiopt.kernels.pace import Poll
from mpiopt.kernels.saga import Moves
from mpiopt.local_steps import (
    CEILING,
    DECREMENT,
    GREW,
    ORDER_STREAM,
    ROUND,
    SCALE,
    SLOW,
    VISITED,
    rows_from,
    upcoming,
)
from mpiopt.objective import Objective
from mpiopt.shard import CsrRows, DenseRows, Shard

if TYPE_CHECKING:
    from mpiopt.algorithms.saga import Saga, SagaState

Vector = NDArray[np.float64]

SAMPLE = 2048  # rows of a rank from which the curvature of the mean is estimated
UNEVEN = 1e3  # a column that bends so much more than the middle one calls for steps of their own


@dataclass
class PlainSteps:
    """w_j ← prox(w_j − γ_j (θ/b u_j + corr_j + l2 w_j)), γ_j = scale · γ / D_j."""

    variant: str
    batch: int
    sampling: str
    form: str
    refresh: float
    seed: int
    gamma: float  # γ
    column: Vector  # (width,) 1/D_j; 1 without a preconditioner
    used: int  # columns in use
    fixed: bool  # H is given by hand

    @classmethod
    def at(
        cls, options: Saga, state: SagaState, objective: Objective, channel: Channel, preconditioner: str
    ) -> PlainSteps:
        """Measure the smoothness constants and choose step, batch and refresh; collective."""
        batch = options.batch or (1 if options.sampling == "uniform" else 8)
        column = np.ones(objective.width)
        noisy = channel.compresses and not any(objective.penalty.strengths)
        if preconditioner in ("auto", "diagonal") or noisy:
            scaled = scaling(objective, state.anchor, channel)
            if preconditioner == "diagonal" or (preconditioner == "auto" and _uneven(scaled[scaled > 0.0])):
                column = scaled
            elif noisy:  # nothing would bring a column back that no row has
                column = np.sign(scaled)
        gamma = options.step_size or chosen_step(objective, state.anchor, batch, column, channel)
        if options.variant == "C" and not options.step_size:
            gamma *= channel.size
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
            gamma,
            column,
            used(objective),
            fixed,
        )

    def step_size(self, scale: float) -> float:
        """Give γ·scale."""
        return self.gamma * scale

    def coordinates(self) -> Coordinates:
        """Give those in which the scaled columns bend alike."""
        if (self.column == 1.0).all():
            return Same(self.used, len(self.column))
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
        step = self.column * self.gamma * state.control[SCALE]
        wanted = max(1, round((epochs or float(state.control[ROUND])) * blocks))
        found = self._starts(state.cursor, n, blocks, wanted, channel.rank)
        for starts in found:
            moves = Moves(starts, step, theta * blocks / n, share, self.batch, self.form, poll)
            objective.local_steps(moves, state.local, average, state.table)
            state.work[VISITED] += rows_from(starts, self.batch, n)
        if self.variant == "D":
            state.own[...] = own_average(objective, state.table)
        else:
            state.own += (average - before) * (part if self.variant in "AE" else 1.0)

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
        return randomness.seed_of(self.seed, ORDER_STREAM, epoch, rank)

    def adapt(self, state: SagaState, exact: Exact, tried: int, objective: Objective, channel: Channel) -> float:
        """Lengthen the step where progress was slow, shorten it and the round where it failed; costs nothing."""
        control = state.control
        map_ = prox_gradient(objective, state.w, exact)
        decrement = float((map_ * map_ * self.column).sum())
        rate = decrement / control[DECREMENT] if control[DECREMENT] > 0.0 else 0.0
        control[DECREMENT] = decrement
        if tried:
            self._shorten(control, tried, channel)
        elif rate > 1.0 and control[GREW]:  # the longer step did not pay
            control[SCALE] /= 1.5
            control[CEILING], control[GREW] = control[SCALE], 0.0
            if channel.compresses:  # what exchanges lose is a part of how far the ranks went
                self._shorten_round(control, channel)
        elif rate > SLOW:
            control[CEILING] *= 1.2  # what was too long far from the optimum need not be so near it
            control[SCALE], control[GREW] = min(1.5 * control[SCALE], control[CEILING]), 1.0
        return 0.0

    def _shorten(self, control: Vector, tried: int, channel: Channel) -> None:
        if tried > 2:
            control[SCALE] *= 0.5 if channel.compresses else 0.1  # what is exchanged may be at fault as well
            control[CEILING] = control[SCALE]
            return
        control[CEILING] = 0.7 * control[SCALE]
        control[SCALE] *= 0.5
        self._shorten_round(control, channel)

    def _shorten_round(self, control: Vector, channel: Channel) -> None:
        if channel.size > 1 and not self.fixed:
            control[ROUND] = max(1 / 64, 0.5 * control[ROUND])


def chosen_step(objective: Objective, w: Model, batch: int, column: Vector, channel: Channel) -> float:
    """Give γ = 1/(2 ((L_max + (b − 1) L)/b + λ)), from the smoothness of the largest row and the mean, scaled.

    L is estimated from a sample of each rank's rows, the largest of the ranks counts.
    """
    c = _bounds(objective, w)
    row = float((c * rows.squared_norms(objective.shard.rows, column)).max(initial=0.0))
    mean = _mean_smoothness(objective, c, column)
    row, mean = (float(v) for v in channel.max(np.array([row, mean])))
    ridge = float((objective.ridge * column).max(initial=0.0))
    smooth = (row + (batch - 1) * min(mean, row)) / batch + ridge
    return 0.5 / smooth if smooth > 0.0 else 1.0


def scaling(objective: Objective, w: Model, channel: Channel) -> Vector:
    """Give 1/D_j, D_j = (1/N) Σ s_i c_i x_ij² + l2; 0 where a column is empty; collective."""
    c = _bounds(objective, w)
    whole = channel.sum(rows.column_squares(objective.shard.rows, c) / objective.shard.total) + objective.ridge
    column = np.zeros_like(whole)
    np.divide(1.0, whole, out=column, where=whole > 0.0)
    return column


def own_average(objective: Objective, table: Model) -> Model:
    """Give g_k = (1/N) Σ_i table_i x_iᵀ anew, one pass over the rows."""
    shard = objective.shard
    return rows.combined(shard.rows, table) / shard.total


def _bounds(objective: Objective, w: Model) -> Vector:
    """Give an upper bound of each row's curvature; where the loss has none, twice what it is at w."""
    bound = objective.loss.curvature_bound
    return 2.0 * objective.curvatures(w) if bound is None else bound * objective.shard.weight


def _mean_smoothness(objective: Objective, c: Vector, column: Vector) -> float:
    """Estimate the largest eigenvalue of the rank's mean (1/n) Σ c_i x_i x_iᵀ in the scaled columns."""
    count = min(SAMPLE, len(objective.shard))
    if count == 0:
        return 0.0
    x, root = first_rows(objective.shard, count), np.sqrt(column)
    v = np.random.default_rng(0).standard_normal(len(column)) * (root > 0.0)
    largest = 0.0
    for _ in range(10):
        v = root * rows.weighted(x, c[:count], (root * v)[None, :])[0] / count
        largest = float(np.linalg.norm(v))
        if largest == 0.0:
            break
        v /= largest
    return 1.1 * largest


def first_rows(shard: Shard, count: int) -> DenseRows | CsrRows:
    """Give the first `count` rows in memory, without a copy."""
    x = shard.rows
    if isinstance(x, DenseRows):
        return DenseRows(x.values[:count])
    end = x.indptr[count]
    return CsrRows(x.indptr[: count + 1], x.indices[:end], x.values[:end], x.width)


def _uneven(scaled: Vector) -> bool:
    return len(scaled) > 0 and bool(np.median(scaled) > UNEVEN * scaled.min())
