"""What actors are made of: the operations that they yield, the state of a rank, and how to receive a message."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind, Received
from mpiopt.studies.parameter_server.runtime.view import View


class Send(NamedTuple):
    """Send a message without waiting; a message to a dead rank is lost."""

    to: int
    message: ActorMessage


class Receive(NamedTuple):
    """Return the next message as `Received`, or None after the given seconds."""

    seconds: float


class Compute(NamedTuple):
    """Call a function and return its result; its name says what it costs in virtual time."""

    name: str
    call: Callable[[], Any]


class KillRank(NamedTuple):
    """Kill a rank; a process that cannot be killed is silent for the given seconds."""

    rank: int
    seconds: float
    pid: int = 0  # of its process, if that runs on this machine


Operation = Send | Receive | Compute | KillRank
Actor = Generator[Operation, Any, None]


@dataclass
class Counts:
    """What a rank did since it started; sent with every heartbeat. The names are columns of OUT.h5."""

    computed: int = 0  # gradients
    applied: int = 0  # gradients
    updates: int = 0
    busy: float = 0.0  # seconds of computation
    idle: float = 0.0  # seconds of waiting for messages
    bytes_sent: int = 0
    queued: int = 0  # largest number of pending gradients
    held: int = 0  # largest number of bytes of weights and gradients
    resident: int = 0  # largest resident memory of the process, bytes
    pid: int = 0
    host: int = 0  # checksum of the host name


@dataclass
class RankState:
    """The memory of a rank, which is lost when the rank dies."""

    rank: int
    view: View
    clock: Callable[[], float]  # seconds since the start of the run
    incarnation: int = 0  # how often the rank has died
    inbox: deque[Received] = field(default_factory=deque)  # messages that the actor has not taken yet
    view_changed: bool = False  # since the actor last received
    counts: Counts = field(default_factory=Counts)
    snapshot_interval: float = 0.5  # seconds between two snapshots of the weights
    next_snapshot: float = 0.0

    def note_memory(self, nbytes: int) -> None:
        """Record how many bytes of weights and gradients are held now."""
        self.counts.held = max(self.counts.held, nbytes)


def receive(
    state: RankState, *kinds: MessageKind, seconds: float = math.inf
) -> Generator[Operation, Any, Received | None]:
    """Return the next message of these kinds; None if the time is up or the view has changed."""
    end = state.clock() + seconds
    while not state.view_changed:
        for place, received in enumerate(state.inbox):
            if received.message.kind in kinds:
                del state.inbox[place]
                return received
        left = end - state.clock()
        if left <= 0.0:
            return None
        arrival = yield Receive(left)
        if arrival is not None:
            state.inbox.append(arrival)
    state.view_changed = False
    return None
