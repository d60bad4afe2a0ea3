"""Asynchronous exchange: no rank waits for another; each steps at its own pace and sends what it has changed.

Each rank has its own view of three sums over the ranks, each the total of all changes that it has made or received:

    c = Σ p_k w_k   the common iterate: a round that moved w_k by δ_k adds p_k δ_k, with p_k = n_k/N
    G = Σ g_k       the average of the tables
    s = Σ p_k s_k   where the tables were filled; the others' curvature is modelled around it

After a round of its own a rank sends the changes of its parts and goes on. Between pieces of a round it adds what has
arrived, to its iterate too. So its own later steps correct the move of a slow rank that began long ago, and that
rank's old g_k is read at its old s_k, not at the present iterate. Messages carry changes, so a rank holds O(d)
numbers instead of O(P d). A rank that has not answered `SagaTuning.window` messages gets no more until it does, and
then all changes in one.

A period ends with an exact evaluation in the background: the ranks go on with local work while Σ p_k w_k is summed,
then pass over their rows at that model, then go on while values and gradients are summed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga.exchange import RoundResult, part_of
from mpiopt.algorithms.saga.state import SagaState
from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.comm.base import Array, Message
from mpiopt.compress.channel import Channel, flat
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective


@dataclass(frozen=True)
class Asynchronous:
    """The mode without a common clock: a round is the time from one exact evaluation to the next."""

    staleness: int  # rounds that a rank may be ahead of the slowest; 0: any number

    def round(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> RoundResult:
        """Work until F is known at a new model; accept it if F is lower there; collective.

        Where F is higher, all ranks go on from the last good model with a shorter step and the tables as they are.
        Where it is far higher, or nan, the tables are filled anew. No message is under way at the end.
        """
        period, control = Period(self.staleness, state, objective, channel), state.control
        w, exact = period.evaluate()
        cuts = 0 if control.allows(exact.value) else 1
        if cuts:
            far_out = control.is_far_out(exact.value, TUNING.tables_far_out)
            w = state.best
            period.restart(w)
            exact = period.refresh(w) if far_out else Evaluation(control.value, state.average.copy())
        control.refuse_divergence()
        state.w[...] = state.best[...] = w
        state.average[...], control.value = exact.gradient, exact.value
        extra = float(state.steps.adapt(state, exact, cuts, objective, period.background))
        period.end()
        return RoundResult(period.epochs + extra, exact)


class Background(Channel):
    """A channel whose sums and maxima let the rank work until all others have contributed.

    All ranks still ask for the same sums in the same order.

    Parameters
    ----------
    channel : Channel
        The channel that carries the sums.
    work : callable
        Does one piece of local work and returns.
    """

    def __init__(self, channel: Channel, work: Callable[[], None]) -> None:
        super().__init__(channel.comm, channel.seed, traffic=channel.traffic)
        self._work = work

    def sum(self, *parts: Array | float) -> Array:
        """Return the sum over the ranks; meanwhile this rank does local work."""
        pending = self.start_sum(*parts)
        while not pending.poll():
            self._work()
        return pending.wait()

    def max(self, x: Array | float) -> Array:
        """Return the maximum over the ranks, by a sum of vectors that have one rank's numbers each."""
        mine = flat(x)
        every = np.zeros((self.size, mine.size))
        every[self.rank] = mine
        return np.asarray(self.sum(every).reshape(every.shape).max(axis=0))


class Header(NamedTuple):
    """The numbers before the changes in a message."""

    rounds: float  # that the sender has done
    received: float  # messages that the sender has received from the reader
    due: float  # 1 if an evaluation is due, else 0


class Peers:
    """What this rank has sent to each rank and received from it; one number for each rank."""

    def __init__(self, size: int, parts: NDArray[np.float64]) -> None:
        self.sent_parts = [parts] * size  # the parts of this rank, as last sent
        self.sent = np.zeros(size, np.int64)  # messages
        self.answered = np.zeros(size, np.int64)  # of these, messages that the rank has said to have received
        self.received = np.zeros(size, np.int64)  # messages from the rank
        self.said = np.zeros(size, np.int64)  # of these, messages that this rank has said to have received
        self.rounds = np.zeros(size)  # that the rank has done


class Period:
    """One rank between two exact evaluations: its views of the sums, and the messages to and from its peers."""

    def __init__(self, staleness: int, state: SagaState, objective: Objective, channel: Channel) -> None:
        self.staleness, self.objective, self.channel = staleness, objective, channel
        self.part = part_of(objective)
        total = channel.sum(self.part * state.local, state.own, self.part * state.place[0])
        self.common, average, centre = total.reshape(3, *state.w.shape)
        self.place = state.place[0]
        state.local[...] = self.common
        state.shared[...] = state.own
        self.state = replace(state, w=centre, average=average)  # the other arrays are those of `state`
        self.moved = np.zeros_like(self.common)  # Σ p_k δ_k of this period
        self.done = self.since_round = 0.0  # epochs of this rank in this period, and since its last round
        rows = len(objective.shard)
        self.rounds = 0.0 if rows else math.inf  # a rank without rows is never behind
        self.due = False  # whether an evaluation is due
        self.epochs = 0.0  # of all ranks, counted in the evaluations
        start = self._parts()
        self.peers = Peers(channel.size, start)
        # The parts at the last round. A copy differs from what was sent, so a rank without rows sends at once.
        self.parts = start if rows else start.copy()
        self.background = Background(channel, self.work)

    def _parts(self) -> NDArray[np.float64]:
        """Return this rank's parts of the three sums, (3, outputs, width)."""
        return np.stack([self.moved, self.state.own, self.part * self.place])

    def work(self) -> None:
        """Receive what has arrived, do a piece of a round, and send at its end; or sleep where that is due."""
        self.receive(self.channel.receive_available())
        rows, work = len(self.objective.shard), self.state.work
        if not rows or self._is_too_far_ahead():
            self._send()
            time.sleep(TUNING.idle_seconds)
            return
        epochs, before = self.state.control.round_epochs, work.visited
        self.state.steps.run(self.state, self.objective, self.channel, epochs=epochs / TUNING.pieces)
        share = (work.visited - before) / rows
        self.place += min(1.0, share) * (self.state.local - self.place)
        self.done, self.since_round = self.done + share, self.since_round + share
        self.due = self.due or self.done >= self.state.steps.refresh
        if self.since_round >= epochs * (1.0 - 0.5 / TUNING.pieces):  # up to half a piece
            self.end_round()

    def _is_too_far_ahead(self) -> bool:
        """Return whether this rank is `staleness` rounds ahead of the slowest one."""
        others = np.delete(self.peers.rounds, self.channel.rank)
        return bool(self.staleness and len(others) and self.rounds - others.min() >= self.staleness)

    def end_round(self, window: float = TUNING.window) -> None:
        """Move the common iterate by this rank's part, and send the changes."""
        self.rounds, self.since_round = self.rounds + 1, 0.0
        self.moved = self.moved + self.part * (self.state.local - self.common)
        before, self.parts = self.parts, self._parts()
        self._add(self.parts - before)
        self.state.local[...] = self.common
        self.state.shared[...] = self.state.own
        self._send(window)

    def _add(self, change: NDArray[np.float64]) -> None:
        """Add changes to the views of the three sums."""
        moved, own, place = change
        self.common += moved
        self.state.average += own
        self.state.w += place

    def _send(self, window: float = TUNING.window) -> None:
        """Send each rank the changes since the last message, if it has answered; and answers that are due."""
        peers, messages = self.peers, {}
        changes: dict[int, NDArray[np.float64]] = {}  # by the parts that they start from: most ranks share them
        for to, old in enumerate(peers.sent_parts):
            news = old is not self.parts and peers.sent[to] - peers.answered[to] < window
            answer = peers.received[to] - peers.said[to] >= TUNING.window
            if to == self.channel.rank or not (news or answer):
                continue
            if id(old) not in changes:
                changes[id(old)] = (self.parts - old).reshape(-1)
            header = np.array(Header(self.rounds, peers.received[to], self.due), np.float64)
            messages[to] = np.concatenate([header, changes[id(old)]]).view(np.uint8)
        for to in messages:
            peers.sent_parts[to], peers.said[to] = self.parts, peers.received[to]
            peers.sent[to] += 1
        if messages:
            self.channel.send(messages)

    def receive(self, messages: list[Message]) -> None:
        """Add the changes of others to the views, and their moves to this rank's iterate."""
        for source, message in messages:
            numbers = message.view(np.float64)
            header = Header(*numbers[: len(Header._fields)])
            change = numbers[len(header) :].reshape(3, *self.common.shape)
            self._add(change)
            self.state.local += change[0]
            self.peers.rounds[source], self.peers.answered[source] = header.rounds, header.received
            self.peers.received[source] += 1
            self.due = self.due or bool(header.due)

    def evaluate(self) -> tuple[Model, Evaluation]:
        """Work until F and its gradient are known at a model: Σ p_k w_k when one rank has done its epochs."""
        while not self.due:
            self.work()
        self.end_round(window=math.inf)
        w = self.background.sum(self.part * self.state.local).reshape(self.common.shape)
        return w, self.refresh(w)

    def restart(self, w: Model) -> None:
        """Let all ranks go on from `w`; collective."""
        self.end()
        self.moved = np.zeros_like(self.moved)
        # Equal parts stay one array: `_send` tells by identity what a rank has got.
        again = {id(old): np.stack([self.moved, *old[1:]]) for old in (*self.peers.sent_parts, self.parts)}
        self.peers.sent_parts = [again[id(old)] for old in self.peers.sent_parts]
        self.parts = again[id(self.parts)]
        self.common[...] = w
        self.state.local[...] = w

    def refresh(self, w: Model) -> Evaluation:
        """Fill the table at `w`, send the changes, and work until all ranks have done so."""
        value, own = self.objective.refresh(w, self.state.table)
        self.state.own[...] = own
        self.place[...] = w
        self.end_round()
        work = self.state.work
        rows, work.counted = work.visited - work.counted, work.visited
        total = self.background.sum(own, value, rows)
        self.epochs += 1.0 + float(total[-1]) / self.objective.shard.total
        return Evaluation(float(total[-2]) + self.objective.penalty_value(w), total[:-2].reshape(w.shape))

    def end(self) -> None:
        """Receive all that is under way; collective."""
        self.receive(self.channel.drain())
