"""A round whose exchange goes on behind the next round's local steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mpiopt.channel import Channel
from mpiopt.objective import Objective

if TYPE_CHECKING:
    from mpiopt.algorithms.saga import SagaState


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
