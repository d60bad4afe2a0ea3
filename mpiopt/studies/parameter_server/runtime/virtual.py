"""Run all ranks in one thread, in virtual time: the real protocol and real gradients, the same bits in every run.

The cost of an operation is given, not measured. A death happens at its instant, also in the middle of a computation.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mpiopt.studies.parameter_server.runtime.actor import Compute, KillRank, RankState, Send
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import ActorFactory, Host
from mpiopt.studies.parameter_server.runtime.log import ServerLog
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind, Received
from mpiopt.studies.parameter_server.runtime.registry import Registry, Timing
from mpiopt.studies.parameter_server.runtime.view import View, blank_view


@dataclass(frozen=True)
class VirtualCosts:
    """Seconds of each operation; the defaults are about those of one core for the paper's network."""

    gradient: float = 0.02
    step: float = 0.002
    add: float = 0.001  # adds one gradient to a sum
    latency: float = 2e-4
    bandwidth: float = 1e9  # bytes a second

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0.0 or (name == "bandwidth" and value == 0.0):
                raise ValueError(f"[costs]: {name} must be a number of seconds, or of bytes a second, not {value}")

    def transit(self, message: ActorMessage) -> float:
        """Return the time that a message is in transit."""
        return self.latency + message.nbytes / self.bandwidth

    def of(self, name: str) -> float:
        """Return the time of a computation."""
        return float(getattr(self, name))


class Completion(NamedTuple):
    """The end of a computation or of a wait; it has no effect if the actor has gone on in between."""

    turn: int
    value: object


class Heartbeat(NamedTuple):
    """The time for the next heartbeat."""


Happening = View | Completion | Heartbeat | Received  # a view: the rank restarts with it


class TimedEvent(NamedTuple):
    """What happens to a rank at a time; events are ordered by time, then by number."""

    time: float
    number: int
    rank: int
    incarnation: int
    happening: Happening


@dataclass
class VirtualRank:
    """A rank between two deaths."""

    host: Host
    arrived: deque[Received] = field(default_factory=deque)
    turn: int = 0  # changes whenever the actor goes on
    waiting_since: float | None = None


class VirtualWorld:
    """The ranks and the queue of events."""

    def __init__(
        self, view: View, actors: ActorFactory, timing: Timing, costs: VirtualCosts, snapshot_interval: float
    ) -> None:
        self.now, self.timing, self.costs = 0.0, timing, costs
        self._initial_view, self._actors, self._snapshot_interval = view, actors, snapshot_interval
        self._events: list[TimedEvent] = []
        self._numbers = itertools.count(1)
        self._last_arrival: dict[tuple[int, int], float] = {}  # between two ranks, whose messages keep their order
        self._ranks: dict[int, VirtualRank] = {}

    def run(self, faults: Sequence[Fault]) -> ServerLog:
        """Run until the registry ends, and return its log."""
        log = ServerLog()
        registry = Registry(RankState(0, self._initial_view, lambda: self.now), self.timing, faults, log)
        self._ranks[0] = VirtualRank(Host(registry.state, lambda _: registry.run()))
        for rank in range(1, len(self._initial_view.places)):
            self._start(rank, 0, self._initial_view)
        self._resume(0, None)
        while 0 in self._ranks:
            self.now, _, rank, incarnation, happening = heapq.heappop(self._events)
            if isinstance(happening, View):
                self._start(rank, incarnation, happening)
            elif rank in self._ranks and self._ranks[rank].host.state.incarnation == incarnation:
                self._handle(rank, self._ranks[rank], happening)
        return log

    def _schedule(self, time: float, rank: int, incarnation: int, happening: Happening) -> None:
        heapq.heappush(self._events, TimedEvent(time, next(self._numbers), rank, incarnation, happening))

    def _start(self, rank: int, incarnation: int, view: View) -> None:
        state = RankState(rank, view, lambda: self.now, incarnation, snapshot_interval=self._snapshot_interval)
        self._ranks[rank] = VirtualRank(Host(state, self._actors))
        self._schedule(self.now, rank, incarnation, Completion(0, None))
        self._schedule(self.now, rank, incarnation, Heartbeat())

    def _handle(self, rank: int, body: VirtualRank, happening: Completion | Heartbeat | Received) -> None:
        if isinstance(happening, Heartbeat):
            self._send(rank, 0, body.host.heartbeat())
            self._schedule(self.now + self.timing.heartbeat, rank, body.host.state.incarnation, happening)
        elif isinstance(happening, Completion):
            if happening.turn == body.turn:
                self._resume(rank, happening.value)
        elif happening.message.kind is MessageKind.STOP:
            self._send(rank, 0, body.host.heartbeat(last=True))
            del self._ranks[rank]
        elif happening.message.kind is MessageKind.VIEW:
            if body.host.update_view(happening.message) or body.waiting_since is not None:
                self._resume(rank, None)
        else:
            body.arrived.append(happening)
            if body.waiting_since is not None:
                self._resume(rank, body.arrived.popleft())

    def _resume(self, rank: int, value: object) -> None:
        """Let an actor go on until it computes or waits for a message that has not arrived."""
        body = self._ranks[rank]
        state = body.host.state
        if body.waiting_since is not None:
            state.counts.idle, body.waiting_since = state.counts.idle + self.now - body.waiting_since, None
        body.turn = next(self._numbers)
        while True:
            try:
                operation = body.host.resume(value)
            except StopIteration:  # only the registry ends by itself
                del self._ranks[rank]
                return None
            value = None
            if isinstance(operation, Send):
                self._send(rank, *operation)
            elif isinstance(operation, KillRank):
                self._kill(operation)
            elif isinstance(operation, Compute):
                seconds = self.costs.of(operation.name)
                state.counts.busy += seconds
                end = Completion(body.turn, operation.call())
                return self._schedule(self.now + seconds, rank, state.incarnation, end)
            elif body.arrived:
                value = body.arrived.popleft()
            else:
                body.waiting_since = self.now
                if operation.seconds < float("inf"):
                    end = Completion(body.turn, None)
                    self._schedule(self.now + operation.seconds, rank, state.incarnation, end)
                return None

    def _send(self, source: int, to: int, message: ActorMessage) -> None:
        if source in self._ranks:
            self._ranks[source].host.state.counts.bytes_sent += message.nbytes
        if to in self._ranks:
            arrival = max(self.now + self.costs.transit(message), self._last_arrival.get((source, to), 0.0))
            self._last_arrival[source, to] = arrival
            self._schedule(arrival, to, self._ranks[to].host.state.incarnation, Received(source, message))

    def _kill(self, victim: KillRank) -> None:
        """End a rank at once; it restarts after the outage with nothing in memory."""
        body = self._ranks.pop(victim.rank, None)
        if body is not None:
            view = blank_view(self._initial_view, victim.rank)
            self._schedule(self.now + victim.seconds, victim.rank, body.host.state.incarnation + 1, view)
