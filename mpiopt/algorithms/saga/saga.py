"""Distributed SAGA: local tables, H local steps, corrected stale gradients, one exchange a round.

Reconstructed from Calauzènes and Le Roux, "Distributed SAGA: maintaining linear convergence rate with limited
communication", 2017 (arXiv 1705.10405); SAGA itself is Defazio, Bach and Lacoste-Julien, 2014, arXiv 1407.0202. What
is ours: the refresh of the table at the averaged iterate, the common metric and the model of the others' curvature
(metric.py), see DESIGN.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.saga import asynchronous, exchange, round_modes
from mpiopt.algorithms.saga.local_steps import full_metric, plan
from mpiopt.algorithms.saga.options import SagaOptions
from mpiopt.algorithms.saga.state import (
    CONTROLS,
    DECREMENT,
    FACTOR,
    FALL,
    FASTER,
    LAST,
    MIX,
    ROUND,
    SCALE,
    SINCE,
    SPENT,
    VALUE,
    ExchangeState,
    SagaState,
)
from mpiopt.algorithms.saga.table_refresh import judge, refresh
from mpiopt.algorithms.warm_start import Start, approach, find
from mpiopt.compress.channel import Channel
from mpiopt.objective.evaluation import Model
from mpiopt.objective.objective import Objective


@dataclass(frozen=True)
class Saga(SagaOptions, Algorithm[SagaState]):
    """Distributed SAGA; a step is H local steps on each rank and one exchange of (w_k, g_k).

    letter – field – meaning
    w̄ – w, G – average, g_k – own, g_k(s) – shared, w_k – local, γ – step size, n_k, N – rows here, everywhere.

        i in S_k:  new = s_i loss_i'(w_k x_i);  w_k -= γ (θ (new − table_i) x_i + corr);  g_k += (new − table_i) x_i/N
        exchange:  w̄ = Σ (n_k/N) w_k,  G = Σ g_k

    variant: corr is A: g_k N/n_k + (G − g_k(s) N/n_k), B: G + (g_k − g_k(s)), C: as B with θ = n_k/N instead of 1,
    D: G, E: g_k N/n_k (no correction: stalls; the negative control). Every `refresh` epochs the table is filled anew
    at w̄, which gives an exact objective and gradient as well. With the full preconditioner the steps are made on
    blocks in a common metric, and the correction is that of metric.py instead of the variant's.

    exchange: sync: all ranks wait for each other; overlap: they go on while the sum is under way; timed: all exchange
    at the same time, each having visited what rows it could (rounds/timed.py); async: nobody waits, and a step is the
    time from one exact evaluation in the background to the next (rounds/asynchronous.py).
    """

    name: ClassVar[str] = "saga"
    compressed_memory: ClassVar[str] = "error-feedback"

    def blank(self, objective: Objective, size: int) -> SagaState:
        """Make a state of zeros."""
        w, rows = objective.zeros(), len(objective.shard)
        trail = np.zeros((self.extrapolate + 1 if self.extrapolate else 0, *w.shape))
        table, cursor, control = np.zeros((rows, objective.outputs)), np.full(2, -1, np.int64), np.zeros(CONTROLS)
        models = {
            name: w.copy()
            for name in ("w", "average", "own", "shared", "known_own", "known", "local", "anchor", "best")
        }
        place, work = np.zeros((2 if self.exchange in ("timed", "async") else 0, *w.shape)), np.zeros(7)
        own = {"table": table, "cursor": cursor, "place": place, "work": work, "residual": np.zeros(w.size)}
        return SagaState(control=control, trail=trail, steps=None, **own, **models)

    def init(self, objective: Objective, channel: Channel) -> SagaState:
        """Fill the table at the start, 0 or a model of a part of the rows, by one pass and one exchange."""
        if self.exchange == "async" and channel.compresses:
            raise ValueError("exchange 'async' does not compress: use --compress none, or --exchange timed")
        state = self.blank(objective, channel.size)
        state.cursor[:], control = 0, state.control
        control[[SCALE, VALUE, DECREMENT, FACTOR]] = 1.0, math.inf, math.inf, FASTER
        control[ROUND], control[MIX] = self._round(objective, channel), channel.shrink_of_sum(state.w.size)
        start = self._start(objective, channel)
        value, spent = self._start_at(start.w, state, objective, channel), 1.0 + start.epochs
        if value > start.believed:
            value, spent = self._start_at(objective.zeros(), state, objective, channel), spent + 1.0
        control[[VALUE, LAST, FALL]], control[SPENT] = (value, value, math.inf), spent
        if state.steps is None:
            state.steps = plan(self, state, objective, channel)
        return state

    def _start(self, objective: Objective, channel: Channel) -> Start:
        """Choose where to start: by a part of the rows, or at 0.

        Where exchanges are compressed and steps are made in the full metric, its curvature is what is dear: it is
        taken once, where steps without it have led; or at 0, where it is the same everywhere.
        """
        zero = Start(objective.zeros(), 0.0, math.inf)
        if not self.warm_start:
            return zero
        if not (channel.compresses and full_metric(self, objective)):
            return find(replace(self, local_steps=0, round_seconds=0.0), objective, channel)
        if objective.loss.quadratic:
            return zero
        return approach(replace(self, local_steps=0, preconditioner="none", step_size="auto"), objective, channel)

    def _start_at(self, w: Model, state: SagaState, objective: Objective, channel: Channel) -> float:
        """Fill the table at `w`; give F there. Compressed exchanges want their coordinates before, and no memory."""
        for model in (state.w, state.anchor, state.best):
            model[...] = w
        exchange.forget(state)  # of a start that was given up
        if channel.compresses:
            state.steps = plan(self, state, objective, channel)
        return refresh(0, state, objective, channel).value

    def _round(self, objective: Objective, channel: Channel) -> float:
        """Give the epochs of local work in a round: H size/N by hand; else one in the metric, a quarter without.

        Less where a compressor lets through only a small part α of what a rank found.
        """
        if self.local_steps > 0:
            return self.local_steps * channel.size / objective.shard.total
        if channel.size == 1:
            return 1.0
        whole = self.stretch * self.share(objective)
        return max(whole / 16, whole * min(1.0, 2.0 * channel.typical_contraction(objective.zeros().size)))

    def share(self, objective: Objective) -> float:
        """Give the part of a local epoch that a round is: one in the metric, a quarter without."""
        return 1.0 if full_metric(self, objective) else 0.25

    def rebuild(self, state: SagaState, objective: Objective, channel: Channel) -> None:
        """Make the metric again at the anchor; on another number of ranks refill the table at w."""
        state.steps = plan(self, state, objective, channel)
        if state.cursor[0] < 0:  # per-rank fields were not loaded
            state.cursor[:] = 0
            state.known[...] = 0.0
            refresh(0, state, objective, channel)

    def step(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> StepInfo:
        """Do H local steps and the exchange; then the refresh, if it is due."""
        epochs, state.control[SPENT] = float(state.control[SPENT]), 0.0
        if self.exchange == "async":
            spent, exact = asynchronous.period(self.staleness, state, objective, channel)
            return StepInfo(epochs + spent, state.steps.step_size(state), exact)
        was = ExchangeState(state.w.copy(), state.average.copy())
        epochs += self._work_and_exchange(k + 1, state, objective, channel)
        found = refresh(k + 1, state, objective, channel) if self._is_due(state) else None
        state.steps.agree(was, state, channel)
        if found is None:
            return StepInfo(epochs, state.steps.step_size(state))
        extra, exact = judge(k + 1, state, found, objective, channel)
        return StepInfo(epochs + 1.0 + extra, state.steps.step_size(state), exact)

    def _work_and_exchange(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> float:
        """Do the local steps of a round and its exchange; give the epochs over all ranks."""
        epochs = float(state.control[ROUND])
        if self.exchange == "timed":
            epochs = round_modes.work(self.round_seconds, state, objective, channel)
        elif self.exchange == "overlap":
            round_modes.work_and_exchange(state, objective, channel)
        else:
            state.steps.run(state, objective, channel)
        state.control[SINCE] += epochs
        if self.exchange == "overlap":
            return epochs
        if self._is_due(state):  # the refresh brings the tables
            exchange.models(k, state, objective, channel)
        else:
            exchange.models_and_tables(k, state, objective, channel)
        return epochs

    def _is_due(self, state: SagaState) -> bool:
        refresh = state.steps.refresh
        return bool(refresh) and state.control[SINCE] >= refresh - 1e-9 and round_modes.allows(state)
