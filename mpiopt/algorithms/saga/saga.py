"""Distributed SAGA: local tables, H local steps, corrected stale gradients, one exchange in a round.

Reconstructed from C. Calauzènes and N. Le Roux, "Distributed SAGA: maintaining linear convergence rate with limited
communication", 2017 (arXiv 1705.10405); SAGA itself is A. Defazio, F. Bach and S. Lacoste-Julien, 2014 (arXiv
1407.0202). The refresh of the table at the averaged iterate, the common preconditioner and the model of the others'
curvature (`mpiopt.algorithms.preconditioner`) are our additions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.preconditioner import LARGEST_WIDTH
from mpiopt.algorithms.saga import exchange
from mpiopt.algorithms.saga.asynchronous import Asynchronous
from mpiopt.algorithms.saga.exchange import ExchangeMode, Overlapped, Synchronous, Timed
from mpiopt.algorithms.saga.extrapolation import best_extrapolation
from mpiopt.algorithms.saga.local_steps import LocalSteps
from mpiopt.algorithms.saga.options import SagaOptions
from mpiopt.algorithms.saga.plain_steps import PlainSteps
from mpiopt.algorithms.saga.preconditioned_steps import PreconditionedSteps
from mpiopt.algorithms.saga.state import SagaState, SharedModel
from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.algorithms.warm_start import Start, approach, find
from mpiopt.compress.channel import Channel
from mpiopt.data.shard import CsrRows
from mpiopt.objective.evaluation import Evaluation, Model, evaluate_exact
from mpiopt.objective.objective import Objective


@dataclass(frozen=True)
class Saga(SagaOptions, Algorithm[SagaState]):
    """Distributed SAGA: each round is H local steps on every rank and one exchange of (w_k, g_k).

    symbol – field – meaning
    w̄ – w, G – average, g_k – own, g_k(s) – shared, w_k – local, γ – step size, n_k, N – rows here, everywhere.

        i in S_k:  new = s_i loss_i'(w_k x_i);  w_k -= γ (θ (new − table_i) x_i + corr);  g_k += (new − table_i) x_i/N
        exchange:  w̄ = Σ (n_k/N) w_k,  G = Σ g_k

    The options are those of `SagaOptions`. The correction corr of each variant is

    * A: g_k N/n_k + (G − g_k(s) N/n_k);
    * B: G + (g_k − g_k(s));
    * C: as B, with θ = n_k/N instead of 1;
    * D: G;
    * E: g_k N/n_k, which is no correction: it stalls, and is the negative control.

    Every `refresh` epochs the table is filled anew at w̄, which gives an exact objective and gradient as well. With
    the full preconditioner P the steps are made on blocks of rows, with the correction of
    `mpiopt.kernels.saga_preconditioned` instead of the variant's. After a refresh a round may then be a chord step
    w − P⁻¹ ∇F(w) and a refresh there, one epoch in all, for as long as such an epoch gains more than local steps do.

    The exchange is one of

    * sync: all ranks wait for each other;
    * overlap: they go on with local steps while the sum is under way;
    * timed: all exchange at the same time, each after the rows that it could visit until then;
    * async: no rank waits; a round is the time from one exact evaluation in the background to the next.

    Examples
    --------
    >>> from mpiopt.algorithms.saga.saga import Saga
    >>> Saga(variant="A", preconditioner="none").exchange
    'sync'
    """

    name: ClassVar[str] = "saga"
    compressed_memory: ClassVar[str] = "error-feedback"

    # ---- One round

    def step(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> StepInfo:
        """Do round k: local steps and exchange; then refresh the table and accept the model, if that is due."""
        control = state.control
        epochs, control.start_epochs = control.start_epochs, 0.0
        chord = state.steps.chord(state, objective, channel)
        if chord is not None:
            state.w[...] = chord
            accepted = _accept(k + 1, state, exchange.refresh(k + 1, state, objective, channel), objective, channel)
            step_size = state.steps.step_size(control, state.work)
            return StepInfo(epochs + 1.0 + accepted.epochs, step_size, accepted.exact)
        before = SharedModel(state.w.copy(), state.average.copy())
        done = self._mode().round(k + 1, state, objective, channel)
        epochs, exact = epochs + done.epochs, done.exact
        if exact is None:
            if state.refresh_is_due():
                exact = exchange.refresh(k + 1, state, objective, channel)
            change = SharedModel(state.w - before.w, state.average - before.average)
            state.steps.agree(change, control, state.work, channel)
            if exact is not None:
                accepted = _accept(k + 1, state, exact, objective, channel)
                epochs, exact = epochs + 1.0 + accepted.epochs, accepted.exact
        return StepInfo(epochs, state.steps.step_size(control, state.work), exact)

    def _mode(self) -> ExchangeMode:
        """Return the mode of the option `exchange`."""
        modes: dict[str, ExchangeMode] = {
            "sync": Synchronous(),
            "overlap": Overlapped(),
            "timed": Timed(self.round_seconds),
            "async": Asynchronous(self.staleness),
        }
        return modes[self.exchange]

    # ---- The start

    def blank(self, objective: Objective, size: int) -> SagaState:
        """Return a state of zeros."""
        places = 2 if self.exchange in ("timed", "async") else 0
        return SagaState.zeros(objective, self.extrapolate + 1 if self.extrapolate else 0, places)

    def init(self, objective: Objective, channel: Channel) -> SagaState:
        """Return a state whose table is filled at 0 or at a model of a part of the rows; collective."""
        if self.exchange == "async" and channel.compresses:
            raise ValueError("exchange 'async' does not compress: use --compress none, or --exchange timed")
        state, origin = self._begin(objective, channel), objective.origin()
        start = self._start(objective, channel)
        value, epochs = self._fill_at(start.w, state, objective, channel), 1.0 + start.epochs
        if value > start.believed or (start.epochs and value > evaluate_exact(objective, origin, channel).value):
            value, epochs = self._fill_at(origin, state, objective, channel), epochs + 1.0
        return self._started(state, value, epochs, objective, channel)

    def go_on(self, w: Model, exact: Evaluation, objective: Objective, channel: Channel) -> SagaState:
        """Begin at w; to fill the table costs a pass."""
        state = self._begin(objective, channel)
        return self._started(state, self._fill_at(w, state, objective, channel), 1.0, objective, channel)

    def _begin(self, objective: Objective, channel: Channel) -> SagaState:
        """Return a state whose table is to be filled; collective."""
        state = self.blank(objective, channel.size)
        state.cursor[:], control = 0, state.control
        control.scale, control.value, control.decrement, control.growth = 1.0, math.inf, math.inf, TUNING.first_growth
        if is_wide(objective) and self.rule is None and self.variant != "C":
            control.scale = min(TUNING.longest_first_scale, math.sqrt(channel.size))
        control.round_epochs, control.mix = self._round(objective, channel), channel.shrink_of_sum(state.w.size)
        return state

    def _started(
        self, state: SagaState, value: float, epochs: float, objective: Objective, channel: Channel
    ) -> SagaState:
        """Return the state, whose table is filled where F is `value`, ready for its first round; collective."""
        control = state.control
        control.value, control.last_value, control.last_fall, control.start_epochs = value, value, math.inf, epochs
        if state.steps is None:
            state.steps = self._choose_steps(state, objective, channel)
        return state

    def _start(self, objective: Objective, channel: Channel) -> Start:
        """Choose the first model: that of a part of the rows, or 0; collective.

        Where exchanges are compressed and the steps have the full preconditioner, its sum is what costs: it is made
        once, at a model that steps without it have found; or at 0, where the curvature is the same everywhere.
        """
        if objective.initial is not None:
            return find(self, objective, channel)
        zero = Start(objective.origin(), 0.0, math.inf)
        if not self.warm_start:
            return zero
        if not (channel.compresses and self.fully_preconditioned(objective)):
            return find(replace(self, local_steps=0, round_seconds=0.0), objective, channel)
        if objective.loss.quadratic:
            return zero
        return approach(replace(self, local_steps=0, preconditioner="none", step_size="auto"), objective, channel)

    def _fill_at(self, w: Model, state: SagaState, objective: Objective, channel: Channel) -> float:
        """Fill the table at `w`; return F there. Compressed exchanges need the steps' coordinates before."""
        for model in (state.w, state.anchor, state.best):
            model[...] = w
        state.forget_memory()  # of a start that was given up
        if channel.compresses:
            state.steps = self._choose_steps(state, objective, channel)
        return exchange.refresh(0, state, objective, channel).value

    def _choose_steps(self, state: SagaState, objective: Objective, channel: Channel) -> LocalSteps:
        """Return the local steps that the options and the data ask for; collective."""
        kind = PreconditionedSteps if self.fully_preconditioned(objective) else PlainSteps
        return kind.choose(self, state, objective, channel)

    def _round(self, objective: Objective, channel: Channel) -> float:
        """Return the local epochs of a round: H size/N by hand; else `share`, less where a compressor loses much."""
        if self.local_steps > 0:
            return self.local_steps * channel.size / objective.shard.total
        if channel.size == 1:
            return 1.0
        whole = self.stretch * self.share(objective)
        through = min(1.0, TUNING.compressed_round * channel.typical_contraction(objective.zeros().size))
        return max(TUNING.least_compressed_round * whole, whole * through)

    def share(self, objective: Objective) -> float:
        """Return the local epochs of a round: one with the full preconditioner or in wide sparse rows, else less."""
        return 1.0 if self.fully_preconditioned(objective) or is_wide(objective) else TUNING.short_round

    def rebuild(self, state: SagaState, objective: Objective, channel: Channel) -> None:
        """Make the steps again at the anchor; on another number of ranks fill the table at w; collective."""
        state.steps = self._choose_steps(state, objective, channel)
        if state.cursor[0] < 0:  # per-rank fields were not loaded
            state.cursor[:] = 0
            state.known[...] = 0.0
            exchange.refresh(0, state, objective, channel)


def is_wide(objective: Objective) -> bool:
    """Return whether rows are sparse, with more columns than a preconditioner takes: ranks then share few of them."""
    return isinstance(objective.shard.rows, CsrRows) and objective.width > LARGEST_WIDTH


class Accepted(NamedTuple):
    """A model that was accepted, at state.w."""

    epochs: float  # that accepting it cost
    exact: Evaluation


def _accept(k: int, state: SagaState, exact: Evaluation, objective: Objective, channel: Channel) -> Accepted:
    """Accept the refreshed model, or a point on the way back to the last good one, and adapt the steps; collective.

    Where F has risen even at a sixteenth of the way, the last good model is kept, and the steps become shorter. Once
    in m refreshes the extrapolated model is tried, and taken if F is lower there.
    """
    control, cuts = state.control, 0
    way = state.w - state.best
    while not control.allows(exact.value):
        cuts += 1
        if control.is_far_out(exact.value, TUNING.far_out):
            state.forget_memory()
        part = TUNING.cut**cuts if cuts <= TUNING.cuts and np.isfinite(way).all() else 0.0
        state.w[...] = state.best + (part * way if part else 0.0)
        exact = exchange.refresh(k, state, objective, channel)
        if cuts > TUNING.cuts:
            break
    if cuts:
        exact = exchange.refine_gradient(k, cuts, exact, state, objective, channel)
    if not (channel.compresses and channel.memory == "none"):  # no step is short enough for noise that stays
        control.refuse_divergence()
    control.value = exact.value
    state.best[...] = state.w
    epochs = float(cuts)
    if state.extend_trail():
        found = best_extrapolation(state.trail, objective, channel)
        epochs += found.epochs
        if found.value < control.value:
            state.w[...] = found.w
            exact = exchange.refresh(k, state, objective, channel)
            epochs += 1.0
            control.value = exact.value
            state.best[...] = state.trail[-1] = state.w
    return Accepted(epochs + state.steps.adapt(state, exact, cuts, objective, channel), exact)
