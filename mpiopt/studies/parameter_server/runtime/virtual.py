"""All ranks in one thread, in virtual time: the true protocol and true gradients, the same bits in every run.

What an operation costs is stated, not measured; a death falls at its instant, also in the middle of computing.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mpiopt.studies.parameter_server.runtime.actor import Me, Send, Strike, Work
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import Cast, Host
from mpiopt.studies.parameter_server.runtime.messages import Kind, Letter, Message
from mpiopt.studies.parameter_server.runtime.record import ServerLog
from mpiopt.studies.parameter_server.runtime.registry import Registry, Rules
from mpiopt.studies.parameter_server.runtime.view import View, unknown


class VirtualCosts(NamedTuple):
    """Seconds of what is done; about those of one core for the network of the paper."""

    gradient: float = 0.02
    step: float = 0.002
    add: float = 0.001  # one gradient to a sum
    latency: float = 2e-4
    bandwidth: float = 1e9  # bytes a second

    def transit(self, message: Message) -> float:
        """Give the time that a message is under way."""
        return self.latency + message.nbytes / self.bandwidth

    def of(self, name: str) -> float:
        """Give the time of a computation."""
        return float(getattr(self, name))


class VirtualTimer(NamedTuple):
    """A computation or a wait that ends, if nothing else came before."""

    turn: int
    value: object


@dataclass
class Body:
    """A rank in one of its lives."""

    host: Host
    here: deque[Letter] = field(default_factory=deque)
    turn: int = 0  # of the actor; what ends belongs to one
    idle: float | None = None  # since when it waits


class VirtualWorld:
    """The ranks, and what happens next."""

    def __init__(self, view: View, actors: Cast, rules: Rules, costs: VirtualCosts, every: float) -> None:
        self.now, self.rules, self.costs = 0.0, rules, costs
        self._first, self._actors, self._every = view, actors, every
        self._queue: list[tuple[float, int, int, int, object]] = []  # when, number, rank, life, what
        self._numbers = itertools.count(1)
        self._arrived: dict[tuple[int, int], float] = {}  # the last arrival between two ranks: they keep their order
        self._bodies: dict[int, Body] = {}

    def run(self, faults: Sequence[Fault]) -> ServerLog:
        """Run to the end of the registry."""
        record = ServerLog()
        me = Me(0, self._first, lambda: self.now)
        registry = Registry(me, self.rules, faults, record)
        self._bodies[0] = Body(Host(me, lambda _: registry.run()))
        for rank in range(1, len(self._first.places)):
            self._born(rank, 0, self._first)
        self._resume(0, None)
        while 0 in self._bodies:
            self.now, _, rank, life, what = heapq.heappop(self._queue)
            if isinstance(what, View):
                self._born(rank, life, what)
            elif rank in self._bodies and self._bodies[rank].host.me.life == life:
                self._happens(rank, self._bodies[rank], what)
        return record

    def _at(self, when: float, rank: int, life: int, what: object) -> None:
        heapq.heappush(self._queue, (when, next(self._numbers), rank, life, what))

    def _born(self, rank: int, life: int, view: View) -> None:
        me = Me(rank, view, lambda: self.now, life, every=self._every)
        self._bodies[rank] = Body(Host(me, self._actors))
        self._at(self.now, rank, life, VirtualTimer(0, None))
        self._at(self.now, rank, life, "beat")

    def _happens(self, rank: int, body: Body, what: object) -> None:
        if what == "beat":
            self._send(rank, 0, body.host.beat())
            self._at(self.now + self.rules.beat, rank, body.host.me.life, what)
        elif isinstance(what, VirtualTimer):
            if what.turn == body.turn:
                self._resume(rank, what.value)
        elif isinstance(what, tuple):
            self._delivered(rank, body, what)

    def _delivered(self, rank: int, body: Body, letter: Letter) -> None:
        message = letter[1]
        if message.kind is Kind.STOP:
            self._send(rank, 0, body.host.beat()._replace(amount=1))
            del self._bodies[rank]
        elif message.kind is Kind.VIEW:
            if body.host.told(message) or body.idle is not None:
                self._resume(rank, None)
        else:
            body.here.append(letter)
            if body.idle is not None:
                self._resume(rank, body.here.popleft())

    def _resume(self, rank: int, value: object) -> None:
        """Let an actor go on until it computes, or waits for what is not here."""
        body = self._bodies[rank]
        me = body.host.me
        if body.idle is not None:
            me.counts.idle, body.idle = me.counts.idle + self.now - body.idle, None
        body.turn = next(self._numbers)
        while True:
            try:
                operation = body.host.resume(value)
            except StopIteration:  # only the registry comes to an end
                del self._bodies[rank]
                return None
            value = None
            if isinstance(operation, Send):
                self._send(rank, *operation)
            elif isinstance(operation, Strike):
                self._killed(operation)
            elif isinstance(operation, Work):
                seconds = self.costs.of(operation.name)
                me.counts.busy += seconds
                return self._at(self.now + seconds, rank, me.life, VirtualTimer(body.turn, operation.call()))
            elif body.here:
                value = body.here.popleft()
            else:
                body.idle = self.now
                if operation.seconds < float("inf"):
                    self._at(self.now + operation.seconds, rank, me.life, VirtualTimer(body.turn, None))
                return None

    def _send(self, source: int, to: int, message: Message) -> None:
        if source in self._bodies:
            self._bodies[source].host.me.counts.bytes_sent += message.nbytes
        if to in self._bodies:
            when = max(self.now + self.costs.transit(message), self._arrived.get((source, to), 0.0))
            self._arrived[source, to] = when
            self._at(when, to, self._bodies[to].host.me.life, (source, message))

    def _killed(self, strike: Strike) -> None:
        """End a life at once; another one begins after the outage, with nothing in memory."""
        body = self._bodies.pop(strike.rank, None)
        if body is not None:
            nobody = unknown(self._first, strike.rank)
            self._at(self.now + strike.seconds, strike.rank, body.host.me.life + 1, nobody)
