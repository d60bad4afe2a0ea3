"""A channel whose exchanges nobody waits for: the rank goes on with local work until all have brought their part.

Distributed SAGA without a common clock: each rank steps at its own pace and posts what it changed.

Local steps are those of `Saga`. Every rank has its own view of three sums over the ranks, each the total of all
changes that it has made or heard of:

    c = Σ p_k w_k   the common iterate (as moves: a round that moved w_k by δ_k adds p_k δ_k, p_k = n_k/N)
    G = Σ g_k       the average of the tables
    s = Σ p_k s_k   where the tables were filled, the centre of the metric's model of the others' curvature

After a round of its own a rank posts the changes of its parts, and goes on; between pieces of a round it takes in
what has come, into its iterate too. So a slow rank's move, begun long ago, is corrected by its own later steps, and
its old g_k is read at the old s_k, not at the iterate of today. Changes, not values: a rank holds O(d) and not O(P d)
numbers. Who has not yet answered to WINDOW messages gets no more until then, and then all changes in one.

A period ends with an exact evaluation in the background: Σ p_k w_k by a sum that nobody waits for, then each rank's
pass over its rows at that model, then the sum of values and gradients (`background.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga.state import COUNTED, PIECES, ROUND, SCALE, VALUE, VISITED, SagaState
from mpiopt.comm.base import Array, Message
from mpiopt.compress.channel import Channel, flat
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective


class Background(Channel):
    """Sums and maxima between which a rank works on; what is written for a channel then runs behind the work.

    All ranks still ask for the same sums in the same order. `work` does one piece of local work and returns.
    """

    def __init__(self, channel: Channel, work: Callable[[], None]) -> None:
        super().__init__(channel.comm, channel.seed, traffic=channel.traffic)
        self._work = work

    def sum(self, *parts: Array | float) -> Array:
        """Sum over the ranks; work until the last of them has brought its part."""
        pending = self.start_sum(*parts)
        while not pending.poll():
            self._work()
        return pending.wait()

    def max(self, x: Array | float) -> Array:
        """Maximum over the ranks, by a sum of vectors that have one rank's numbers each."""
        mine = flat(x)
        every = np.zeros((self.size, mine.size))
        every[self.rank] = mine
        return np.asarray(self.sum(every).reshape(every.shape).max(axis=0))


WINDOW = 2  # messages that a rank may be sent before it answers
IDLE = 2e-4  # seconds of sleep of a rank that may not, or need not, work
FAR = 2.0  # times the last good value of F, from which on the tables are not to be trusted
SHORTEST = 1e-9  # step scale
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
        # A rank without rows is never behind.
        self.rounds, self.due = 0.0 if len(objective.shard) else math.inf, False
        self.epochs = 0.0  # of all ranks, counted in the evaluations
        start = self._parts()
        self.told = [start] * channel.size  # what each rank knows of this one
        self.now = (
            start if len(objective.shard) else start.copy()
        )  # at the last round; who has no rows says so at once
        # Messages posted to each rank, how many of them it has answered to, received from it, and said to it so.
        self.posted, self.answered, self.received, self.said = np.zeros((4, channel.size), np.int64)
        self.heard = np.zeros(channel.size)  # rounds of each
        self.background = Background(channel, self.work)

    def _parts(self) -> NDArray[np.float64]:
        return np.stack([self.moved, self.state.own, self.part * self.place])

    def work(self) -> None:
        """Take in what has come, do a piece of a round, and post at the round's end; or wait, where that is asked."""
        self.take(self.channel.receive_available())
        if not len(self.objective.shard) or self._too_far_ahead():
            self._post()
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
        before, self.now = self.now, self._parts()
        self._add(self.now - before)
        self.state.local[...] = self.common
        self.state.shared[...] = self.state.own
        self._post(window)

    def _add(self, change: NDArray[np.float64]) -> None:
        moved, own, place = change
        self.common += moved
        self.state.average += own
        self.state.w += place

    def _post(self, window: float = WINDOW) -> None:
        """Send each rank what it does not know yet, if it has answered to the last; and answers that are due."""
        wires: dict[int, Array] = {}
        changes: dict[int, NDArray[np.float64]] = {}
        for to, old in enumerate(self.told):
            news = old is not self.now and self.posted[to] - self.answered[to] < window
            if to == self.channel.rank or not (news or self.received[to] - self.said[to] >= WINDOW):
                continue
            if id(old) not in changes:
                changes[id(old)] = (self.now - old).reshape(-1)
            head = np.array([self.rounds, self.received[to], self.due], np.float64)
            wires[to] = np.concatenate([head, changes[id(old)]]).view(np.uint8)
        for to in wires:
            self.told[to], self.said[to] = self.now, self.received[to]
            self.posted[to] += 1
        if wires:
            self.channel.send(wires)

    def take(self, letters: list[Message]) -> None:
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

    def evaluate(self) -> tuple[Model, Evaluation]:
        """Work until F and its gradient are known at a model, Σ p_k w_k when one rank has done its epochs."""
        while not self.due:
            self.work()
        self.give(window=math.inf)
        w = self.background.sum(self.part * self.state.local).reshape(self.common.shape)
        return w, self.refresh(w)

    def restart(self, w: Model) -> None:
        """Let all ranks go on from `w`; collective."""
        self.end()
        self.moved = np.zeros_like(self.moved)
        again = {id(known): np.stack([self.moved, *known[1:]]) for known in (*self.told, self.now)}
        self.told, self.now = [again[id(known)] for known in self.told], again[id(self.now)]
        self.common[...] = w
        self.state.local[...] = w

    def refresh(self, w: Model) -> Evaluation:
        """Fill the table at `w`, tell the others, and work until all have done so."""
        value, own = self.objective.refresh(w, self.state.table)
        self.state.own[...] = own
        self.place[...] = w
        self.give()
        work = self.state.work
        rows, work[COUNTED] = float(work[VISITED] - work[COUNTED]), work[VISITED]
        total = self.background.sum(own, value, rows)
        self.epochs += 1.0 + float(total[-1]) / self.objective.shard.total
        return Evaluation(float(total[-2]) + self.objective.penalty_value(w), total[:-2].reshape(w.shape))

    def end(self) -> None:
        """Take in all that is under way; collective."""
        self.take(self.channel.drain())


def period(staleness: int, state: SagaState, objective: Objective, channel: Channel) -> tuple[float, Evaluation]:
    """Work until F is known at a new model, and take it if F is lower there; give the epochs, and F at `state.w`.

    Where it is not, all go on from the last good model with a shorter step, and the tables as they are; where it is
    far off, or no number, they are filled anew. Nothing is under way at the end.
    """
    live, control = Live(staleness, state, objective, channel), state.control
    w, exact = live.evaluate()
    before, tried = float(control[VALUE]), 0
    if not exact.value <= before + 1e-13 * abs(before):
        tried, far = 1, not exact.value <= FAR * abs(before)
        w = state.best
        live.restart(w)
        exact = live.refresh(w) if far else Evaluation(before, state.average.copy())
    if control[SCALE] < SHORTEST:
        raise ValueError("saga diverges at any step size: are the data finite, and the penalty not negative?")
    state.w[...] = state.best[...] = w
    state.average[...], control[VALUE] = exact.gradient, exact.value
    extra = float(state.steps.adapt(state, exact, tried, objective, live.background))
    live.end()
    return live.epochs + extra, exact
