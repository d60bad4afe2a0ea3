"""Rounds of distributed SAGA for ranks of unlike speed: `timed` (all exchange at the same time), `asynchronous`.

A round whose exchange goes on behind the next round's local steps.

A round of so many seconds instead of so many steps: each rank visits what rows it can, then all exchange.

The length of a round is the time in which the median rank does its ordinary round; a rank ten times slower does a
tenth of that, and nobody waits for it. Any weights of the ranks' iterates keep the optimum, for there every iterate
stays; those of `weights` were the fastest of what was tried, see DESIGN.md.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from mpiopt.algorithms.saga.state import AWAY, LENGTH, PASS, PIECES, ROUND, SPEED, VISITED, SagaState
from mpiopt.compress.channel import Channel
from mpiopt.objective.objective import Objective


def work_and_exchange(state: SagaState, objective: Objective, channel: Channel) -> None:
    """Post (w_k, g_k), go on with H steps, then merge: w_k += w̄(s) − w_k(s); G is that of the posted tables."""
    part = len(objective.shard) / objective.shard.total
    sent, sent_own = state.local.copy(), state.own.copy()
    pending = channel.start_sum(sent * part, sent_own)
    state.steps.run(state, objective, channel, pending.poll)
    w, average = np.split(pending.wait(), 2)
    state.w[...] = w.reshape(state.w.shape)
    state.average[...] = average.reshape(state.w.shape)
    state.local += state.w - sent
    state.shared[...] = sent_own


SHARE = 0.5  # of the slowest rank's time for a pass, that the rounds before a refresh should take


def work(seconds: float, state: SagaState, objective: Objective, channel: Channel) -> float:
    """Do local steps until the time is up, at least one piece; give the epochs over all ranks; collective.

    With 0 seconds the round is as long as the ranks agreed on after the last one.
    """
    seconds = seconds or float(state.work[LENGTH])
    before, begin = float(state.work[VISITED]), time.perf_counter()
    piece = float(state.control[ROUND]) / PIECES
    if state.work[SPEED] > 0.0:
        piece = max(1e-12, min(piece, seconds * float(state.work[SPEED]) / PIECES))
    spent = last = 0.0
    about = replace(
        state, w=state.place[1]
    )  # the same arrays, but for the centre of the model of the others' curvature
    while len(objective.shard) and (spent == 0.0 or spent + 0.5 * last < seconds):
        state.steps.run(about, objective, channel, epochs=piece)
        last, spent = time.perf_counter() - begin - spent, time.perf_counter() - begin
    visited = float(state.work[VISITED]) - before
    share = visited / max(1, len(objective.shard))
    state.place[0] += min(1.0, share) * (state.local - state.place[0])
    state.work[SPEED] = visited / (spent * len(objective.shard)) if spent else 0.0
    return _agree(visited, state, objective, channel) / objective.shard.total


def _agree(visited: float, state: SagaState, objective: Objective, channel: Channel) -> float:
    """Agree on the seconds of the next round, and on the time without a refresh; give the rows of this one."""
    mine = np.zeros(channel.size)
    mine[channel.rank] = state.work[SPEED]
    part = len(objective.shard) / objective.shard.total
    total = channel.sum(part * state.place[0], mine, visited)
    state.place[1] = total[: -1 - channel.size].reshape(state.w.shape)
    *speeds, rows = total[-1 - channel.size :].tolist()
    able = [speed for speed in speeds if speed > 0.0]
    state.work[AWAY] += state.work[LENGTH]
    state.work[LENGTH] = float(state.control[ROUND] / np.median(able)) if able else 0.0
    state.work[PASS] = 1.0 / min(able, default=np.inf)
    return float(rows)


def allows(state: SagaState) -> bool:
    """Say whether a refresh, for which all wait for the slowest rank, is in proportion to the work before it."""
    return bool(state.work[AWAY] >= SHARE * state.work[PASS])
