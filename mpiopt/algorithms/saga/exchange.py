"""The exchange of distributed SAGA: when the ranks exchange, what is sent, and the refresh of the table.

Exact sums: w̄ = Σ (n_k/N) w_k and G = Σ g_k. Compressed sums send differences from what all ranks know:

    w̄ ← w̄ + μ Σ C((n_k/N)(w_k − w̄))          all ranks go on from w̄; what C loses of w_k is lost
    h_k ← h_k + s C(g_k − h_k),  G = Σ h_k      error feedback (`mpiopt.compress.error_feedback`); the local
                                                correction G + g_k − h_k has the rank's own part exact

Both differences vanish at the optimum, and the compression error with them: the rate stays linear. They are
compressed in coordinates in which the curvature is near the identity (`mpiopt.compress.whitening`): models in the
primal coordinates, gradients in the dual ones.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from mpiopt.algorithms.saga.state import SagaState, StepControl
from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.compress import error_feedback
from mpiopt.compress.allreduce import ExchangedSum
from mpiopt.compress.channel import Channel
from mpiopt.objective.duality_gap import prox_gradient
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective

PLACES, MODELS, TABLES = 10, 11, 12  # streams of randomness; those after the last are for repetitions

# ---- Modes: when the ranks exchange


class RoundResult(NamedTuple):
    """What the local steps and the exchange of a round were."""

    epochs: float  # of all ranks
    exact: Evaluation | None = None  # F at state.w, where the mode itself has evaluated and accepted it


class ExchangeMode(Protocol):
    """When the ranks exchange."""

    def round(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> RoundResult:
        """Do the local steps of round k and their exchange; collective."""
        ...


class Synchronous:
    """All ranks do H local steps, then exchange."""

    def round(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> RoundResult:
        """Do the local steps of round k, then their exchange; collective."""
        state.steps.run(state, objective, channel)
        state.control.since_refresh += state.control.round_epochs
        share(k, state, objective, channel)
        return RoundResult(state.control.round_epochs)


class Overlapped:
    """The sum of (w_k, g_k) goes on behind H local steps; then w_k += w̄ − (w_k as it was sent), G = Σ g_k as sent."""

    def round(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> RoundResult:
        """Start the sum, do the local steps of round k, and merge; collective."""
        sent, sent_own = state.local.copy(), state.own.copy()
        pending = channel.start_sum(sent * part_of(objective), sent_own)
        state.steps.run(state, objective, channel, pending.poll)
        w, average = np.split(pending.wait(), 2)
        state.w[...] = w.reshape(state.w.shape)
        state.average[...] = average.reshape(state.w.shape)
        state.local += state.w - sent
        state.shared[...] = sent_own
        state.control.since_refresh += state.control.round_epochs
        return RoundResult(state.control.round_epochs)


@dataclass(frozen=True)
class Timed:
    """All ranks exchange at the same time, each after the local steps that it can do until then.

    By default a round takes the time in which the median rank does its ordinary round. A rank that is ten times as
    slow does a tenth of that, and no rank waits for it. Any weights of the ranks' iterates keep the optimum, because
    no iterate moves there; the weights n_k/N converged fastest of those tried (docs/explanation/design.md).
    """

    seconds: float  # of a round; 0: as the ranks agreed after the last one

    def round(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> RoundResult:
        """Do local steps until the time is up, at least one piece of a round, then exchange; collective."""
        rows, work = len(objective.shard), state.work
        seconds, before, begin = self.seconds or work.round_seconds, work.visited, time.perf_counter()
        piece = state.control.round_epochs / TUNING.pieces
        if work.speed > 0.0:
            piece = max(TUNING.least_piece, min(piece, seconds * work.speed / TUNING.pieces))
        spent = last = 0.0
        view = replace(state, w=state.place[1])  # the same arrays, but the others' curvature is modelled around s
        while rows and (spent == 0.0 or spent + TUNING.overrun * last < seconds):
            state.steps.run(view, objective, channel, epochs=piece)
            last, spent = time.perf_counter() - begin - spent, time.perf_counter() - begin
        visited = work.visited - before
        state.place[0] += min(1.0, visited / max(1, rows)) * (state.local - state.place[0])
        work.speed = visited / (spent * rows) if spent else 0.0
        epochs = agree_on_speed(k, visited, state, objective, channel) / objective.shard.total
        state.control.since_refresh += epochs
        share(k, state, objective, channel)
        return RoundResult(epochs)


def agree_on_speed(k: int, visited: float, state: SagaState, objective: Objective, channel: Channel) -> float:
    """Agree on s, the seconds of the next timed round and of a pass; return the rows of this one; collective."""
    speeds = np.zeros(channel.size)
    speeds[channel.rank] = state.work.speed
    if channel.compresses:
        total = channel.sum(speeds, visited)
        state.place[1] += compressed_move(k, PLACES, state.place[0] - state.place[1], state, objective, channel)
    else:
        total = channel.sum(part_of(objective) * state.place[0], speeds, visited)
        state.place[1] = total[: -1 - channel.size].reshape(state.w.shape)
    *found, rows = total[-1 - channel.size :].tolist()
    working = [speed for speed in found if speed > 0.0]
    state.work.seconds_since_refresh += state.work.round_seconds
    state.work.round_seconds = float(state.control.round_epochs / np.median(working)) if working else 0.0
    state.work.slowest_pass = 1.0 / min(working, default=math.inf)
    return float(rows)


# ---- What is exchanged


def share(k: int, state: SagaState, objective: Objective, channel: Channel) -> None:
    """Make w̄ from w_k, and G from g_k where no refresh will make it; all ranks go on from w̄; collective."""
    tables = not state.refresh_is_due()
    if channel.compresses:
        average_models(k, state, objective, channel)
        if tables:
            sum_tables(k, state, objective, channel, TABLES)
    elif tables:
        w, average = np.split(channel.sum(state.local * part_of(objective), state.own), 2)
        state.go_on_from(w.reshape(state.w.shape))
        state.average[...] = average.reshape(state.w.shape)
        state.shared[...] = state.own
    else:
        state.go_on_from(channel.sum(state.local * part_of(objective)).reshape(state.w.shape))


def average_models(k: int, state: SagaState, objective: Objective, channel: Channel) -> None:
    """Make w̄ from w_k by compressed differences; all ranks go on from w̄; collective."""
    state.go_on_from(state.w + compressed_move(k, MODELS, state.local - state.w, state, objective, channel))


def compressed_move(
    k: int, stream: int, own: Model, state: SagaState, objective: Objective, channel: Channel
) -> Model:
    """Return the mean of the ranks' differences from what all know, compressed; collective."""
    here = state.steps.coordinates()
    difference = here.of_model(own * part_of(objective))
    moved = channel.compress(difference.reshape(-1), k, stream).total.reshape(difference.shape)
    step = here.model(state.control.mix * moved)
    return step if objective.threshold.any() else _centred(step, objective)


def sum_tables(k: int, state: SagaState, objective: Objective, channel: Channel, stream: int) -> None:
    """Make G from g_k by compressed differences; collective."""
    here = state.steps.coordinates()
    difference = here.of_gradient(state.own - state.known_own)
    if not np.isfinite(np.vdot(difference, difference)):  # by steps that were too long; memory would keep it for ever
        difference[...] = 0.0
    sent = channel.compress(difference.reshape(-1), k, stream, state.residual)
    parts = ExchangedSum(*(_centred(here.gradient(part.reshape(difference.shape)), objective) for part in sent))
    absorbed = error_feedback.absorb(parts, state.known_own, state.known, channel, difference.size)
    state.shared[...], state.average[...] = absorbed


def refresh(k: int, state: SagaState, objective: Objective, channel: Channel) -> Evaluation:
    """Fill the table at w̄, α_i = ∇f_i(w̄), and make G from it; collective.

    Returns
    -------
    Evaluation
        F at w̄, exactly, and its gradient, exactly or with a bound on its error.
    """
    value, own = objective.refresh(state.w, state.table)
    state.own[...] = own
    state.local[...] = state.w
    state.place[...] = state.w
    state.control.since_refresh = state.work.seconds_since_refresh = 0.0
    if channel.compresses:
        error = _sum_tables_with_bound(k, state, objective, channel, TABLES)
        value, error = channel.sum(value, error).tolist()
    else:
        total, error = channel.sum(state.own, value), 0.0
        value = float(total[-1])
        state.average[...] = total[:-1].reshape(state.w.shape)
        state.shared[...] = state.own
    return Evaluation(value + objective.penalty_value(state.w), state.average.copy(), error)


def refine_gradient(
    k: int, cuts: int, exact: Evaluation, state: SagaState, objective: Objective, channel: Channel
) -> Evaluation:
    """Send differences of the tables until G is wrong by less than half of the gradient map; collective.

    No step size helps where the direction is wrong: that happens where a compressor lets little through and the
    gradient has become small. Once the repetitions have cost as many bytes as an exact exchange, there is one; and
    at once where the whole way was given up.
    """
    if not channel.compresses:
        return exact
    for again in range(channel.exchanges_per_exact_sum(state.w.size) if cuts <= TUNING.cuts else 0):
        norm = float(np.linalg.norm(prox_gradient(objective, state.w, exact)))
        if exact.error <= TUNING.wrong_gradient * norm:
            return exact
        error = _sum_tables_with_bound(k, state, objective, channel, TABLES + 1 + again)
        exact = Evaluation(exact.value, state.average.copy(), float(channel.sum(error)[0]))
    state.shared[...], state.average[...] = state.own, channel.sum(state.own).reshape(state.w.shape)
    if channel.memory != "none":
        state.known_own[...], state.known[...], state.residual[:] = state.own, state.average, 0.0
    return Evaluation(exact.value, state.average.copy())


def _sum_tables_with_bound(k: int, state: SagaState, objective: Objective, channel: Channel, stream: int) -> float:
    """Make G; return this rank's part of a bound on its error."""
    before = _owed(state)
    sum_tables(k, state, objective, channel, stream)
    error = float(np.linalg.norm(state.own - state.shared)) + _owed(state)
    return error if channel.memory == "error-feedback" else error + before


def _owed(state: SagaState) -> float:
    """Return the 2-norm of what the compressed downlink has not yet sent of this rank's slice of G."""
    if not state.residual.any():
        return 0.0
    here = state.steps.coordinates()
    shape = here.of_gradient(state.own).shape
    return float(np.linalg.norm(here.gradient(state.residual[: math.prod(shape)].reshape(shape))))


def sum_memory_exactly(state: SagaState, channel: Channel) -> None:
    """Make Σ h_k exact after a change of coordinates, where the downlink is compressed; collective."""
    if channel.compresses and channel.downlink:
        state.known[...] = channel.sum(state.known_own).reshape(state.w.shape)
        state.residual[:] = 0.0


def adapt_mix(control: StepControl, cuts: int, largest: float) -> None:
    """Go a smaller part of the way to the compressed average where F rose, a larger one where it fell."""
    if cuts:
        control.mix = max(TUNING.least_mix * largest, TUNING.mix_cut * control.mix)
    else:
        control.mix = min(largest, TUNING.mix_growth * control.mix)


def part_of(objective: Objective) -> float:
    """Return n_k/N, this rank's part of the rows."""
    return len(objective.shard) / objective.shard.total


def _centred(x: Model, objective: Objective) -> Model:
    """Remove the part of a decoded difference that all classes of softmax share: true differences have none.

    Nothing but the ridge would bring such noise back.
    """
    return np.asarray(x - x.mean(axis=0)) if objective.loss.centred else x
