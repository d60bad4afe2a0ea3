"""The exchange at the end of a round of distributed SAGA: exact, or by differences that are compressed.

Exact: w̄ = Σ (n_k/N) w_k and G = Σ g_k. Compressed, with what all ranks know as the reference:

    w̄ ← w̄ + μ Σ C((n_k/N)(w_k − w̄))          the ranks then go on from w̄; what C lost of w_k is lost
    h_k ← h_k + s C(g_k − h_k),  G = Σ h_k      a memory, see `mpiopt.compress.error_feedback`; the local correction
    G + g_k − h_k has
                                                the rank's own part exact

Both differences vanish at the optimum, and with them all noise: the rate stays linear. They are compressed in
coordinates in which the curvature is near the identity (`mpiopt.compress.whitening`), each way with its own.
"""

from __future__ import annotations

import math

import numpy as np

from mpiopt.algorithms.saga.state import MIX, SagaState
from mpiopt.compress import error_feedback
from mpiopt.compress.allreduce import ExchangedSum
from mpiopt.compress.channel import Channel
from mpiopt.objective.duality_gap import prox_gradient
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective

MODELS, TABLES = 11, 12  # streams of randomness; those after the last are for repetitions


def models_and_tables(k: int, state: SagaState, objective: Objective, channel: Channel) -> None:
    """Make w̄ from w_k and G from g_k; all ranks go on from w̄; collective."""
    if channel.compresses:
        models(k, state, objective, channel)
        tables(k, state, objective, channel)
        return
    w, average = np.split(channel.sum(state.local * _part(objective), state.own), 2)
    _go_on(state, w.reshape(state.w.shape))
    state.average[...] = average.reshape(state.w.shape)
    state.shared[...] = state.own


def models(k: int, state: SagaState, objective: Objective, channel: Channel) -> None:
    """Make w̄ from w_k; all ranks go on from w̄; collective."""
    if not channel.compresses:
        _go_on(state, channel.sum(state.local * _part(objective)).reshape(state.w.shape))
        return
    here = state.steps.coordinates()
    away = here.of_model((state.local - state.w) * _part(objective))
    moved = channel.compress(away.reshape(-1), k, MODELS).total.reshape(away.shape)
    step = here.model(state.control[MIX] * moved)
    _go_on(state, state.w + (_centred(step, objective) if not objective.threshold.any() else step))


def tables(k: int, state: SagaState, objective: Objective, channel: Channel, stream: int = TABLES) -> None:
    """Make G from g_k; collective."""
    if not channel.compresses:
        state.average[...] = channel.sum(state.own).reshape(state.w.shape)
        state.shared[...] = state.own
        return
    here = state.steps.coordinates()
    away = here.of_gradient(state.own - state.known_own)
    if not np.isfinite(np.vdot(away, away)):  # steps that were too long; a memory would never get rid of it
        away[...] = 0.0
    sent = channel.compress(away.reshape(-1), k, stream, state.residual)
    parts = ExchangedSum(*(_centred(here.gradient(part.reshape(away.shape)), objective) for part in sent))
    taken = error_feedback.absorb(parts, state.known_own, state.known, channel, away.size)
    state.shared[...], state.average[...] = taken


def refreshed(k: int, value: float, state: SagaState, objective: Objective, channel: Channel) -> tuple[float, float]:
    """Make G from the refreshed g_k; give the sum of the values and a bound on G's error; collective."""
    if not channel.compresses:
        total = channel.sum(state.own, value)
        state.average[...] = total[:-1].reshape(state.w.shape)
        state.shared[...] = state.own
        return float(total[-1]), 0.0
    error = _sent(k, state, objective, channel, TABLES)
    total = channel.sum(value, error)
    return float(total[0]), float(total[1])


def refined(
    k: int, tried: int, exact: Evaluation, state: SagaState, objective: Objective, channel: Channel
) -> Evaluation:
    """Send the tables' differences until G is wrong by less than half of the whole gradient; collective.

    No step size helps where the direction is wrong, as it is where a compressor lets little through and the gradient
    has become small. Once that has cost as many bytes as an exact exchange, there is one; at once where all that was
    tried failed.
    """
    if not channel.compresses:
        return exact
    for again in range(channel.exchanges_per_exact_sum(state.w.size) if tried <= 2 else 0):
        if exact.error <= 0.5 * float(np.linalg.norm(prox_gradient(objective, state.w, exact))):
            return exact
        error = _sent(k, state, objective, channel, TABLES + 1 + again)
        exact = Evaluation(exact.value, state.average.copy(), float(channel.sum(error)[0]))
    state.shared[...], state.average[...] = state.own, channel.sum(state.own).reshape(state.w.shape)
    if channel.memory != "none":
        state.known_own[...], state.known[...], state.residual[:] = state.own, state.average, 0.0
    return Evaluation(exact.value, state.average.copy())


def _sent(k: int, state: SagaState, objective: Objective, channel: Channel, stream: int) -> float:
    """Make G; give this rank's part of a bound on its error."""
    before = lost(state)
    tables(k, state, objective, channel, stream)
    error = float(np.linalg.norm(state.own - state.shared)) + lost(state)
    return error if channel.memory == "error-feedback" else error + before


def lost(state: SagaState) -> float:
    """Give the 2-norm of what the way back has kept from the others of this rank's slice of G so far."""
    if not state.residual.any():
        return 0.0
    here = state.steps.coordinates()
    shape = here.of_gradient(state.own).shape
    return float(np.linalg.norm(here.gradient(state.residual[: math.prod(shape)].reshape(shape))))


def start_over(state: SagaState, channel: Channel) -> None:
    """Make the memory exact in new coordinates, where the way back is compressed: one plain exchange; collective."""
    if channel.compresses and channel.downlink:
        state.known[...] = channel.sum(state.known_own).reshape(state.w.shape)
        state.residual[:] = 0.0


def forget(state: SagaState) -> None:
    """Empty the memory: after numbers so large that their rounding would stay in it, or in other coordinates."""
    for memory_ in (state.known_own, state.known, state.residual):
        memory_[...] = 0.0


def _part(objective: Objective) -> float:
    return len(objective.shard) / objective.shard.total


def _centred(x: Model, objective: Objective) -> Model:
    """Take out of a decoded difference what no true one has: a part that is alike in all classes of softmax.

    Nothing but the ridge would bring such noise back.
    """
    return np.asarray(x - x.mean(axis=0)) if objective.loss.centred else x


def _go_on(state: SagaState, w: Model) -> None:
    state.w[...] = w
    state.local[...] = w
