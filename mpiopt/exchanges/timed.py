"""A round of so many seconds instead of so many steps: each rank visits what rows it can, then all exchange.

The length of a round is the time in which the median rank does its ordinary round; a rank ten times slower does a
tenth of that, and nobody waits for it. Any weights of the ranks' iterates keep the optimum, for there every iterate
stays; those of `weights` were the fastest of what was tried, see DESIGN.md.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.channel import Channel
from mpiopt.local_steps import COUNTED, LENGTH, PIECES, ROUND, SPEED, VISITED
from mpiopt.objective import Objective

if TYPE_CHECKING:
    from mpiopt.algorithms.saga import SagaState


def work(seconds: float, state: SagaState, objective: Objective, channel: Channel) -> None:
    """Do local steps until the time is up, at least one piece, and note the speed; 0 seconds: as agreed."""
    seconds = seconds or float(state.work[LENGTH])
    before, begin = float(state.work[VISITED]), time.perf_counter()
    piece = float(state.control[ROUND]) / PIECES
    if state.work[SPEED] > 0.0:
        piece = min(piece, seconds * float(state.work[SPEED]) / PIECES)
    spent = last = 0.0
    while len(objective.shard) and (spent == 0.0 or spent + 0.5 * last < seconds):
        state.steps.run(state, objective, channel, epochs=max(piece, 1e-12))
        last, spent = time.perf_counter() - begin - spent, time.perf_counter() - begin
    state.work[SPEED] = (float(state.work[VISITED]) - before) / max(spent * len(objective.shard), 1e-12)


def agree(state: SagaState, objective: Objective, channel: Channel) -> float:
    """Set the seconds of the next round, what the median rank needs for its ordinary one; give this one's epochs.

    Collective.
    """
    speeds = np.zeros(channel.size)
    speeds[channel.rank] = state.work[SPEED]
    *speeds, rows = channel.sum(speeds, float(state.work[VISITED] - state.work[COUNTED]))
    state.work[COUNTED] = state.work[VISITED]
    able = [speed for speed in speeds if speed > 0.0]
    state.work[LENGTH] = float(state.control[ROUND] / np.median(able)) if able else 0.0
    return rows / objective.shard.total
