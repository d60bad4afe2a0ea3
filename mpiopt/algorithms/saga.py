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

from mpiopt import exchange
from mpiopt.algorithms import Algorithm, Progress
from mpiopt.channel import Channel
from mpiopt.exact import Model
from mpiopt.local_steps import (
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
    Common,
    full_metric,
    plan,
)
from mpiopt.local_steps.rules import rule_of
from mpiopt.objective import Objective
from mpiopt.refreshing import judge, refresh
from mpiopt.rounds import asynchronous, overlapped, timed
from mpiopt.state import Derived, PerRank, Replicated, Sharded
from mpiopt.stepsizes import StepSize, Way
from mpiopt.warm_start import Start, approach, find

EXCHANGES = ("sync", "overlap", "timed", "async")
VARIANTS = ("A", "B", "C", "D", "E")
PRECONDITIONERS = ("auto", "none", "diagonal", "full")


@dataclass
class SagaState:
    """Between two rounds. Averages are in units of the whole: g_k = (1/N) Σ_{S_k} α_i and G = Σ_k g_k."""

    w: Replicated  # (outputs, width) w̄, the average of the ranks' iterates at the last exchange
    average: Replicated  # (outputs, width) G at the last exchange
    own: PerRank  # (outputs, width) g_k, kept up to date
    shared: PerRank  # (outputs, width) g_k as it was in the last exchange
    known_own: PerRank  # (outputs, width) h_k, the memory of compressed exchanges; 0 without
    known: Replicated  # (outputs, width) Σ h_k
    residual: PerRank  # (outputs · width,) what the compressed way back still owes of this rank's slice of G
    local: PerRank  # (outputs, width) w_k; equal to w unless the exchange overlaps with the steps
    table: Sharded  # (n, outputs) s_i loss_i' at the last visit of row i, so that α_i = table_i x_iᵀ
    place: PerRank  # (2, outputs, width) where the table's rows were visited last, on average, and s = Σ p_k of these
    work: PerRank  # (7,) rows visited, and the pace of this rank and of its rounds, see mpiopt.local_steps
    cursor: PerRank  # (2,) local epoch and position in its order of blocks
    anchor: Replicated  # (outputs, width) where the metric was taken
    best: Replicated  # (outputs, width) the last model that an exact evaluation accepted
    control: Replicated  # (CONTROLS,) numbers that the rounds adapt, see mpiopt.local_steps
    trail: Replicated  # (m + 1 or 0, outputs, width) the last refreshed models, the newest last
    steps: Derived  # LocalSteps: what the data and the anchor determine


@dataclass(frozen=True)
class Saga(Algorithm[SagaState]):
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

    variant: str = "B"
    preconditioner: str = "auto"
    local_steps: int = 0  # H, rows visited by each rank in a round; 0: chosen, -1: by measured speeds
    stretch: float = 1.0  # times longer rounds than chosen
    step_size: float | str = "auto"  # γ for one row (none, diagonal) or η (full), or theoretical, line-search, global
    batch: int = 0  # rows in a step; 0: chosen
    sampling: str = "permutation"  # of blocks, anew each epoch; or "uniform": rows with replacement, as in the paper
    refresh: float = -1.0  # epochs between refreshes; 0: never, -1: chosen
    warm_start: bool = True  # begin on a part of the rows, where there are many for each unknown
    exchange: str = "sync"  # or "overlap", "timed", "async"
    round_seconds: float = 0.0  # of a timed round; 0: what the median rank needs for H rows
    staleness: int = 0  # rounds that a rank of an async run may be ahead of the slowest; 0: any number
    extrapolate: int = 0  # m, of the models at the last m + 1 refreshes, guarded by an exact evaluation; 0: off
    lazy: bool = False  # CSR rows without a full metric: the exact iterates of dense rows, a little slower

    def __post_init__(self) -> None:
        _one_of("variant", self.variant, VARIANTS)
        _one_of("preconditioner", self.preconditioner, PRECONDITIONERS)
        _one_of("exchange", self.exchange, EXCHANGES)
        _one_of("sampling", self.sampling, ("permutation", "uniform"))
        least = {"local_steps": -1, "batch": 0, "extrapolate": 0, "round_seconds": 0, "staleness": 0}
        for field, value in least.items():
            if getattr(self, field) < value:
                raise ValueError(f"{field} must be at least {value}, not {getattr(self, field)}")
        self._check_rule()
        if not self.stretch > 0:
            raise ValueError(f"stretch must be greater than 0, not {self.stretch}")
        for field, exchange_ in (("round_seconds", "timed"), ("staleness", "async")):
            if getattr(self, field) and self.exchange != exchange_:
                raise ValueError(f"{field} is for exchange {exchange_!r} only, not for {self.exchange!r}")
        if self.exchange == "async" and (self.extrapolate or not self.refresh):
            raise ValueError(
                "exchange 'async' needs refreshes and no extrapolation: leave out refresh and extrapolate"
            )

    @property
    def rule(self) -> StepSize | None:
        """The rule of the step sizes; None: chosen, and adapted to progress."""
        return rule_of(self.step_size)

    def _check_rule(self) -> None:
        rule = self.rule
        if rule is None or not isinstance(self.step_size, str):
            return
        if self.preconditioner == "full":
            raise ValueError(f"step_size {rule.name} is for steps without a full metric, not preconditioner 'full'")
        if rule.way in (Way.MAX, Way.GRADIENT) and self.exchange not in ("sync", "timed"):
            raise ValueError(f"step_size {rule.name} needs exchange 'sync' or 'timed', not {self.exchange!r}")

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
        return max(whole / 16, whole * min(1.0, 2.0 * channel.through(objective.zeros().size)))

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

    def step(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> Progress:
        """Do H local steps and the exchange; then the refresh, if it is due."""
        epochs, state.control[SPENT] = float(state.control[SPENT]), 0.0
        if self.exchange == "async":
            spent, exact = asynchronous.period(self.staleness, state, objective, channel)
            return Progress(epochs + spent, state.steps.step_size(state), exact)
        was = Common(state.w.copy(), state.average.copy())
        epochs += self._work_and_exchange(k + 1, state, objective, channel)
        found = refresh(k + 1, state, objective, channel) if self._is_due(state) else None
        state.steps.agree(was, state, channel)
        if found is None:
            return Progress(epochs, state.steps.step_size(state))
        extra, exact = judge(k + 1, state, found, objective, channel)
        return Progress(epochs + 1.0 + extra, state.steps.step_size(state), exact)

    def _work_and_exchange(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> float:
        """Do the local steps of a round and its exchange; give the epochs over all ranks."""
        epochs = float(state.control[ROUND])
        if self.exchange == "timed":
            epochs = timed.work(self.round_seconds, state, objective, channel)
        elif self.exchange == "overlap":
            overlapped.work_and_exchange(state, objective, channel)
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
        return bool(refresh) and state.control[SINCE] >= refresh - 1e-9 and timed.allows(state)


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{field} must be one of {', '.join(allowed)}, not {value!r}")
