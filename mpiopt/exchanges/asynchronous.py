"""Distributed SAGA without a common clock: each rank steps at its own pace and posts what it changed.

Local steps are those of `Saga`. Every rank has its own view of three sums over the ranks, each the total of all
changes that it has made or heard of:

    c = Σ p_k w_k   the common iterate (as moves: a round that moved w_k by δ_k adds p_k δ_k, p_k = n_k/N)
    G = Σ g_k       the average of the tables
    s = Σ p_k s_k   where the tables were filled, the centre of the metric's model of the others' curvature

After a round of its own a rank posts the changes of its parts, and goes on; between pieces of a round it takes in
what has come, into its iterate too. So a slow rank's move, begun long ago, is corrected by its own later steps, and
its old g_k is read at the old s_k, not at the iterate of today. Changes, not values, so that a rank holds O(d) and not
O(P d) numbers; a rank that has not yet answered to WINDOW messages gets no more until it does, then all at once.

A period ends with an exact evaluation in the background: Σ p_k w_k by a sum that nobody waits for, then each rank's
pass over its rows at that model, then the sum of values and gradients (`background.py`).
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import Exact
from mpiopt.channel import Channel
from mpiopt.comm import Array, Letter
from mpiopt.exchanges.background import Background
from mpiopt.local_steps import COUNTED, PIECES, ROUND, VISITED
from mpiopt.objective import Objective

if TYPE_CHECKING:
    from mpiopt.algorithms.saga import SagaState

WINDOW = 2  # messages that a rank may be sent before it answers
IDLE = 2e-4  # seconds of sleep of a rank that may not, or need not, work
HEAD = 3  # numbers before a message's changes: own rounds so far, messages received from the reader, evaluation due


class Live:
    """One rank in a period: its views, what it has posted to whom, and what it has heard."""

    def __init__(self, staleness: int, state: SagaState, objective: Objective, channel: Channel) -> None:
        self.staleness, self.objective, self.channel = staleness, objective, channel
        self.part = len(objective.shard) / objective.shard.total
        total = channel.sum(self.part * state.local, state.own, self.part * state.place[0])
        self.common, average, centre = total.reshape(3, *state.w.shape)
        self.place = state.place[0]
        state.local[...] = self.common
        state.shared[...] = state.own
        self.state = replace(state, w=centre, average=average)  # the other arrays are those of `state`
        self.moved = np.zeros_like(self.common)  # Σ p_k δ_k of this period
        self.done = self.since = 0.0  # epochs of this rank in this period, and since its last round
        self.rounds, self.due = 0, False
        self.epochs = 0.0  # of all ranks, counted in the evaluations
        self.told = [self._parts()] * channel.size  # what each rank knows of this one
        self.posted, self.answered, self.received = np.zeros((3, channel.size), np.int64)
        self.heard = np.zeros(channel.size)  # rounds of each
        self.background = Background(channel, self.work)

    def _parts(self) -> NDArray[np.float64]:
        return np.stack([self.moved, self.state.own, self.part * self.place])

    def work(self) -> None:
        """Take in what has come, do a piece of a round, and post at the round's end."""
        self.take(self.channel.arrived())
        if not len(self.objective.shard) or self._too_far_ahead():
            time.sleep(IDLE)
            return
        epochs, before = float(self.state.control[ROUND]), float(self.state.work[VISITED])
        self.state.steps.run(self.state, self.objective, self.channel, epochs=epochs / PIECES)
        share = (float(self.state.work[VISITED]) - before) / len(self.objective.shard)
        self.place += min(1.0, share) * (self.state.local - self.place)
        self.done, self.since = self.done + share, self.since + share
        self.due = self.due or self.done >= self.state.steps.refresh
        if self.since >= epochs * (1.0 - 0.5 / PIECES):
            self.give()

    def _too_far_ahead(self) -> bool:
        others = np.delete(self.heard, self.channel.rank)
        return bool(self.staleness and len(others) and self.rounds - others.min() >= self.staleness)

    def give(self, window: float = WINDOW) -> None:
        """End a round: move the common iterate by this rank's part, and post the changes."""
        self.rounds, self.since = self.rounds + 1, 0.0
        self.moved = self.moved + self.part * (self.state.local - self.common)
        now = self._parts()
        self._add(now - self.told[self.channel.rank])
        self.told[self.channel.rank] = now
        self.state.local[...] = self.common
        self.state.shared[...] = self.state.own
        self._post(now, window)

    def _add(self, change: NDArray[np.float64]) -> None:
        moved, own, place = change
        self.common += moved
        self.state.average += own
        self.state.w += place

    def _post(self, now: NDArray[np.float64], window: float) -> None:
        wires: dict[int, Array] = {}
        changes: dict[int, NDArray[np.float64]] = {}
        for to in range(self.channel.size):
            if to == self.channel.rank or self.posted[to] - self.answered[to] >= window:
                continue
            old = self.told[to]
            if id(old) not in changes:
                changes[id(old)] = (now - old).reshape(-1)
            head = np.array([self.rounds, self.received[to], self.due], np.float64)
            wires[to] = np.concatenate([head, changes[id(old)]]).view(np.uint8)
        for to in wires:
            self.told[to] = now
            self.posted[to] += 1
        self.channel.post(wires)

    def take(self, letters: list[Letter]) -> None:
        """Add others' changes to the views, and their moves to this rank's iterate."""
        for source, wire in letters:
            numbers = wire.view(np.float64)
            rounds, answered, due = numbers[:HEAD]
            change = numbers[HEAD:].reshape(3, *self.common.shape)
            self._add(change)
            self.state.local += change[0]
            self.heard[source], self.answered[source] = rounds, answered
            self.received[source] += 1
            self.due = self.due or bool(due)

    def evaluate(self, state: SagaState) -> Exact:
        """Work until F and its gradient are known at Σ p_k w_k, the sum being begun when one rank's period is over."""
        while not self.due:
            self.work()
        self.give(window=math.inf)
        state.w[...] = self.background.sum(self.part * state.local).reshape(state.w.shape)
        return self._refresh(state)

    def restart(self, state: SagaState) -> Exact:
        """Let all ranks go on from `state.w`, and work until F and its gradient are known there."""
        self.end()
        self.moved = np.zeros_like(self.moved)
        self.told = [np.stack([self.moved, *known[1:]]) for known in self.told]
        self.common[...] = state.w
        state.local[...] = state.w
        return self._refresh(state)

    def _refresh(self, state: SagaState) -> Exact:
        """Fill the table at `state.w`, tell the others, and work until all have done so; sets `state.average`."""
        value, own = self.objective.refresh(state.w, state.table)
        state.own[...] = own
        self.place[...] = state.w
        self.give()
        rows = float(state.work[VISITED] - state.work[COUNTED])
        state.work[COUNTED] = state.work[VISITED]
        total = self.background.sum(own, value, rows)
        state.average[...] = total[:-2].reshape(state.w.shape)
        self.epochs += 1.0 + float(total[-1]) / self.objective.shard.total
        return Exact(float(total[-2]) + self.objective.penalty_value(state.w), state.average)

    def end(self) -> None:
        """Take in all that is under way; collective."""
        self.take(self.channel.flush())
