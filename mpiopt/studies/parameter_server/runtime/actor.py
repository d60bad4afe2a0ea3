"""What actors are made of: operations that they yield, their memory, and how they wait for a letter."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mpiopt.studies.parameter_server.runtime.messages import Kind, Letter, Message
from mpiopt.studies.parameter_server.runtime.view import View


class Send(NamedTuple):
    """Hand a message over; nobody waits, and to the dead it is lost."""

    to: int
    message: Message


class Wait(NamedTuple):
    """Give the next letter, or None after so many seconds."""

    seconds: float


class Work(NamedTuple):
    """Compute, and give the result; in virtual time it costs what its name costs."""

    name: str
    call: Callable[[], Any]


class Strike(NamedTuple):
    """Kill a rank; where its process can not be killed it falls silent for so many seconds."""

    rank: int
    seconds: float
    pid: int = 0  # of its process, if that is on this machine and known


Operation = Send | Wait | Work | Strike
Actor = Generator[Operation, Any, None]


@dataclass
class Counts:
    """What a rank did in one life; told to the registry with every beat."""

    computed: int = 0  # gradients
    applied: int = 0
    updates: int = 0
    busy: float = 0.0  # seconds of computing
    idle: float = 0.0  # seconds of waiting for a letter
    bytes_sent: int = 0
    queued: int = 0  # the most gradients that were pending at once
    held: int = 0  # the most bytes of weights and gradients kept at once
    resident: int = 0  # the most bytes of memory of the process, as the system says
    pid: int = 0
    host: int = 0  # a number for the machine's name


@dataclass
class Me:
    """The memory of a rank: it is gone with its life."""

    rank: int
    view: View
    clock: Callable[[], float]
    life: int = 0
    letters: deque[Letter] = field(default_factory=deque)  # here, but not looked at yet
    news: bool = False  # the view has changed since the actor last waited
    counts: Counts = field(default_factory=Counts)
    every: float = 0.5  # seconds between the weights that a server shows
    due: float = 0.0  # when it shows the next ones

    def holds(self, nbytes: int) -> None:
        """Note how much is kept now."""
        self.counts.held = max(self.counts.held, nbytes)


def take(me: Me, *kinds: Kind, seconds: float = math.inf) -> Generator[Operation, Any, Letter | None]:
    """Give the next letter of these kinds; None where time is up or the view has changed: look again."""
    end = me.clock() + seconds
    while not me.news:
        for place, letter in enumerate(me.letters):
            if letter[1].kind in kinds:
                del me.letters[place]
                return letter
        left = end - me.clock()
        if left <= 0.0:
            return None
        letter = yield Wait(left)
        if letter is not None:
            me.letters.append(letter)
    me.news = False
    return None
