"""The store: weights and a queue of gradients in memory, replicated along a chain of stores.

The queue takes a gradient in O(1). A server reads without taking away; what it used up goes with its commit of new
weights, and a commit that did not start from the present version is refused: so a server may die at any instant,
or be taken for dead, and no gradient is lost or used twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me, Send, take
from mpiopt.studies.parameter_server.runtime.messages import Kind, Letter, Message
from mpiopt.studies.parameter_server.runtime.view import RoleView

ASKED = (Kind.SAVE, Kind.FETCH, Kind.APPEND, Kind.TAKE, Kind.READ, Kind.COMMIT)
REPLICATED = (Kind.SAVE, Kind.APPEND, Kind.COMMIT)
ANYTHING = -2  # the version "known" of one who wants an answer even where there are no weights
WINDOW = 32 << 20  # bytes of gradients that are on their way to a server at once


@dataclass
class Shelf:
    """What a store holds; pure."""

    most: int  # gradients in the queue beyond which workers wait
    version: int = -1
    weights: Array | None = None
    queue: list[tuple[int, Array]] = field(default_factory=list)  # version, gradient
    fetchers: list[Letter] = field(default_factory=list)  # questions that can not be answered yet
    taker: Letter | None = None

    def keep(self, message: Message) -> None:
        """Take in what changes the store."""
        kind, number, count, vector = message
        if vector is None:
            return
        if kind is Kind.APPEND:
            self.queue.append((number, vector))
        elif kind is Kind.SAVE:
            self.version, self.weights = number, vector
        elif kind is Kind.COMMIT and number == self.version:
            self.version, self.weights = number + 1, vector
            del self.queue[:count]

    def ask(self, source: int, message: Message) -> Iterator[Send]:
        """Note a question, or answer it."""
        if message.kind is Kind.FETCH:
            self.fetchers.append((source, message))
        elif message.kind is Kind.TAKE:
            self.taker = (source, message)
        elif message.kind is Kind.READ:
            yield from self.read(source, message.number, message.amount)

    def answers(self) -> Iterator[Send]:
        """Answer what can be answered by now."""
        waiting, self.fetchers = self.fetchers, []
        room = self.weights is not None and len(self.queue) < self.most
        for source, message in waiting:
            if room or message.number == ANYTHING:
                w = self.weights if message.number != self.version else None
                yield Send(source, Message(Kind.WEIGHTS, self.version, message.amount, w))
            else:
                self.fetchers.append((source, message))
        if self.taker and (self.queue or self.version < 0):
            (source, _), self.taker = self.taker, None
            yield Send(source, Message(Kind.BATCH, self.version, len(self.queue), self.weights))
            if self.weights is not None:
                yield from self.read(source, 0, window(self.weights))

    def read(self, source: int, start: int, count: int) -> Iterator[Send]:
        """Give gradients of the queue."""
        for place in range(start, min(start + count, len(self.queue))):
            version, g = self.queue[place]
            yield Send(source, Message(Kind.GRADIENT, version, place, g))

    def copy(self, to: int) -> Iterator[Send]:
        """Give everything to a new store."""
        if self.weights is not None:
            yield Send(to, Message(Kind.SAVE, self.version, 0, self.weights))
        for version, g in self.queue:
            yield Send(to, Message(Kind.APPEND, version, 0, g))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(g.nbytes for _, g in self.queue[:1]) * len(self.queue) + getattr(self.weights, "nbytes", 0)


def store(me: Me, most: int) -> Actor:
    """Serve the questions; hand what changes the store on to the next of the chain, and all of it to a new next."""
    shelf = Shelf(most)
    fed = following(me)  # at the start all are empty
    while True:
        letter = yield from take(me, *ASKED)
        if following(me) != fed:
            fed = following(me)
            if fed is not None:
                for send in shelf.copy(fed[0]):
                    yield send
        if letter is not None:
            source, message = letter
            shelf.keep(message)
            for send in shelf.ask(source, message):
                yield send
            if fed is not None and message.kind in REPLICATED:
                yield Send(fed[0], message)
        for send in shelf.answers():
            yield send
        me.counts.queued = max(me.counts.queued, len(shelf.queue))
        me.holds(shelf.nbytes)


def window(w: Array) -> int:
    """Give how many gradients are on their way to a server at once."""
    return max(1, WINDOW // w.nbytes)


def following(me: Me) -> tuple[int, RoleView] | None:
    """Give the next of this rank's chain, and since when."""
    after = me.view.after(me.rank)
    return None if after is None else (after, me.view.places[after])
