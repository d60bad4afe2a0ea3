"""Signals set a flag, and the ranks agree on it at a round's end: a checkpoint is saved by all of them or by none.

Installed before mpi4py is imported: a signal during the imports would otherwise kill all ranks.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from types import FrameType
from typing import Protocol

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel


class StopLevel(IntEnum):
    """How urgently a run is asked to end; the ranks take the maximum, so the highest wins.

    A SIGTERM after a SIGUSR1 means that the scheduler has decided, and a halt that a person has: 75 would make the
    batch script run the job again.
    """

    NONE = 0
    SIGUSR1 = 1
    DEADLINE = 2  # the job's time is up soon
    HALT = 3  # asked for by `mpiopt halt`
    SIGINT = 4
    SIGTERM = 5


LEVELS = {signal.SIGUSR1: StopLevel.SIGUSR1, signal.SIGINT: StopLevel.SIGINT, signal.SIGTERM: StopLevel.SIGTERM}
EXIT_CODES = {
    StopLevel.SIGUSR1: 75,
    StopLevel.DEADLINE: 75,
    StopLevel.HALT: 3,
    StopLevel.SIGINT: 130,
    StopLevel.SIGTERM: 143,
}
NAMES = {
    StopLevel.SIGUSR1: "SIGUSR1",
    StopLevel.DEADLINE: "the end of the job's time is near",
    StopLevel.HALT: "halt asked for",
    StopLevel.SIGINT: "Ctrl-C",
    StopLevel.SIGTERM: "SIGTERM",
}
# How late a signal may be heard, so that rounds of microseconds need no exchange each. Open MPI 5's mpirun turns a
# Ctrl-C or SIGTERM of its own into SIGTERM for the ranks, and kills them 0.25 s later whatever its options say.
SECONDS_BETWEEN = 0.05


class OutsideStop(Protocol):
    """What may ask a run to end besides signals; `mpiopt.resilience.deadline.Deadline` is one."""

    def level(self, round_seconds: float) -> StopLevel:
        """Say what is asked for now, when the next chance to end is a round later."""

    def saved(self, seconds: float) -> None:
        """Take note of a checkpoint, and of how long it took."""


class StopSignal:
    """What signals have asked of this rank, and what the ranks have agreed on."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.level = 0
        self.outside: OutsideStop | None = None  # on one rank is enough
        self._now = now
        self._rounds, self._period, self._since = 0, 1, now()
        self._agreed, self._start = 0, now()
        self._interrupted = False
        self.elapsed = 0.0  # seconds at the last exchange, of the slowest rank: what the ranks may decide on

    def install(self) -> None:
        """Take over SIGINT, SIGTERM and SIGUSR1; only in the main thread."""
        for number in LEVELS:
            signal.signal(number, self._heard)

    def end_at_once(self, tell: bool) -> None:
        """Let SIGINT and SIGTERM end this process where it is: for commands that have no state to save."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: _leave(number, tell))

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            # The second Ctrl-C: whoever types it wants the end now, not a checkpoint.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        self._interrupted |= number == signal.SIGINT
        self.level = max(self.level, LEVELS[signal.Signals(number)])

    def agreed(self, channel: Channel) -> int:
        """Give the highest level over the ranks, 0 for none; collective, called at the end of every round.

        Exchanges only in some rounds, the same on all ranks: the slowest rank's time for a round, known to all
        from the last exchange, says how many rounds fill SECONDS_BETWEEN.
        """
        self._rounds += 1
        if self._agreed or self._rounds < self._period:
            return self._agreed
        now = self._now()
        if self.outside is not None:
            self.level = max(self.level, self.outside.level((now - self._since) / self._rounds))
        mine = np.array([float(self.level), (now - self._since) / self._rounds, now - self._start])
        level, slowest, self.elapsed = channel.max_uncounted(mine).tolist()
        self._agreed = int(level)
        self._period = _next_period(self._period, slowest)
        self._rounds, self._since = 0, self._now()
        return self._agreed

    def realign(self, comm: Comm) -> None:
        """Begin anew on another communicator, where the ranks may have stopped at different exchanges; collective."""
        self._rounds, self._period, self._agreed = 0, 1, 0
        self.elapsed = float(comm.max(np.array([self._now() - self._start]))[0])
        self._since = self._now()

    def saved(self, seconds: float) -> None:
        """Take note of a checkpoint: the ranks agree at the next call, whichever round it is; on all ranks alike."""
        if self.outside is not None:
            self.outside.saved(seconds)
        self._period = 1

    @property
    def exit_code(self) -> int:
        """The exit code for what was agreed on; 0 for nothing."""
        return EXIT_CODES.get(StopLevel(self._agreed), 0)

    @property
    def reason(self) -> str:
        """What was agreed on, in words."""
        return NAMES.get(StopLevel(self._agreed), "")


def _leave(number: int, tell: bool) -> None:
    if tell:
        print(f"mpiopt: stopped by {NAMES[LEVELS[signal.Signals(number)]]}", file=sys.stderr, flush=True)
    raise SystemExit(EXIT_CODES[LEVELS[signal.Signals(number)]])


def _next_period(period: int, seconds: float) -> int:
    # At most doubled: a first round is often faster than the rest.
    wanted = SECONDS_BETWEEN / max(seconds, 1e-9)
    return max(1, min(2 * period, math.floor(wanted)))
