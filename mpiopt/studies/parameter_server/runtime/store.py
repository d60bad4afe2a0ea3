"""The store: weights and a queue of gradients in memory, replicated along a chain of stores.

The queue takes a gradient in O(1). A server reads gradients without removing them; the commit of the new weights
removes the gradients that it used. A commit that did not start from the present version is refused. So a server may
die at any instant, or be taken for dead, and no gradient is lost or used twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, RankState, Send, receive
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind, Received
from mpiopt.studies.parameter_server.runtime.view import RoleView

CHANGES = (MessageKind.SAVE, MessageKind.APPEND, MessageKind.COMMIT)  # are forwarded along the chain
REQUESTS = (MessageKind.FETCH, MessageKind.TAKE, MessageKind.READ)
ANY_VERSION = -2  # of a FETCH that is answered even if the store has no weights
WINDOW = 32 << 20  # bytes of gradients in transit to a server


class QueuedGradient(NamedTuple):
    """A pending gradient."""

    version: int  # of the weights at which it was computed
    gradient: Array


class Successor(NamedTuple):
    """The next rank of a chain; two of them are equal if the rank has not died in between."""

    rank: int
    place: RoleView


def successor(state: RankState) -> Successor | None:
    """Return the next rank in this rank's chain, or None for the last one."""
    rank = state.view.successor(state.rank)
    return None if rank is None else Successor(rank, state.view.places[rank])


@dataclass
class StoreContents:
    """What a store holds, and the requests that it cannot answer yet."""

    capacity: int  # gradients in the queue beyond which workers wait
    version: int = -1
    weights: Array | None = None
    queue: list[QueuedGradient] = field(default_factory=list)
    fetches: list[Received] = field(default_factory=list)
    take: Received | None = None

    def apply(self, message: ActorMessage) -> None:
        """Change the contents as the message says; other messages have no effect."""
        kind, number, count, vector = message
        if vector is None:
            return
        if kind is MessageKind.APPEND:
            self.queue.append(QueuedGradient(number, vector))
        elif kind is MessageKind.SAVE:
            self.version, self.weights = number, vector
        elif kind is MessageKind.COMMIT and number == self.version:
            self.version, self.weights = number + 1, vector
            del self.queue[:count]

    def request(self, received: Received) -> Iterator[Send]:
        """Answer a READ; remember a FETCH or TAKE for `answers`."""
        source, message = received
        if message.kind is MessageKind.FETCH:
            self.fetches.append(received)
        elif message.kind is MessageKind.TAKE:
            self.take = received
        elif message.kind is MessageKind.READ:
            yield from self.read(source, message.number, message.amount)

    def answers(self) -> Iterator[Send]:
        """Answer the requests that can be answered by now."""
        fetches, self.fetches = self.fetches, []
        room = self.weights is not None and len(self.queue) < self.capacity
        for received in fetches:
            source, message = received
            if room or message.number == ANY_VERSION:
                w = self.weights if message.number != self.version else None
                yield Send(source, ActorMessage(MessageKind.WEIGHTS, self.version, message.amount, w))
            else:
                self.fetches.append(received)
        if self.take and (self.queue or self.version < 0):
            server, self.take = self.take.source, None
            yield Send(server, ActorMessage(MessageKind.BATCH, self.version, len(self.queue), self.weights))
            if self.weights is not None:
                yield from self.read(server, 0, window(self.weights))

    def read(self, to: int, start: int, count: int) -> Iterator[Send]:
        """Send gradients of the queue."""
        for place in range(start, min(start + count, len(self.queue))):
            version, g = self.queue[place]
            yield Send(to, ActorMessage(MessageKind.GRADIENT, version, place, g))

    def copy(self, to: int) -> Iterator[Send]:
        """Send everything to a new store."""
        if self.weights is not None:
            yield Send(to, ActorMessage(MessageKind.SAVE, self.version, 0, self.weights))
        for version, g in self.queue:
            yield Send(to, ActorMessage(MessageKind.APPEND, version, 0, g))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(g.nbytes for _, g in self.queue[:1]) * len(self.queue) + getattr(self.weights, "nbytes", 0)


def store(state: RankState, capacity: int) -> Actor:
    """Answer requests; forward changes to the successor in the chain, and everything to a new successor."""
    contents = StoreContents(capacity)
    copied_to = successor(state)  # at the start all stores are empty
    while True:
        received = yield from receive(state, *CHANGES, *REQUESTS)
        if successor(state) != copied_to:
            copied_to = successor(state)
            if copied_to is not None:
                yield from contents.copy(copied_to.rank)
        if received is not None:
            contents.apply(received.message)
            yield from contents.request(received)
            if copied_to is not None and received.message.kind in CHANGES:
                yield Send(copied_to.rank, received.message)
        yield from contents.answers()
        state.counts.queued = max(state.counts.queued, len(contents.queue))
        state.note_memory(contents.nbytes)


def window(w: Array) -> int:
    """Return how many gradients may be in transit to a server at once."""
    return max(1, WINDOW // w.nbytes)
