"""Signals set a flag, and the ranks agree on it at the end of a round: all of them save a checkpoint, or none does.

The handlers are installed before mpi4py is imported: a signal during the imports would otherwise kill all ranks.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from types import FrameType
from typing import Protocol

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel


class StopLevel(IntEnum):
    """How urgently a run is asked to end; the ranks take the maximum, so the highest level wins.

    After SIGUSR1, a SIGTERM means that the scheduler has decided, and a halt means that a person has. Both must win
    over exit code 75, with which the batch script would run the job again.
    """

    NONE = 0
    SIGUSR1 = 1
    DEADLINE = 2  # the time limit of the job is near
    HALT = 3  # asked for by `mpiopt halt`
    SIGINT = 4
    SIGTERM = 5


LEVELS = {
    signal.SIGUSR1: StopLevel.SIGUSR1,
    signal.SIGUSR2: StopLevel.SIGUSR1,  # some sites keep SIGUSR1 for themselves
    signal.SIGINT: StopLevel.SIGINT,
    signal.SIGTERM: StopLevel.SIGTERM,
}
EXIT_CODES = {
    StopLevel.SIGUSR1: 75,
    StopLevel.DEADLINE: 75,
    StopLevel.HALT: 3,
    StopLevel.SIGINT: 130,
    StopLevel.SIGTERM: 143,
}
NAMES = {
    StopLevel.SIGUSR1: "SIGUSR1 or SIGUSR2",
    StopLevel.DEADLINE: "the end of the job's time is near",
    StopLevel.HALT: "halt asked for",
    StopLevel.SIGINT: "Ctrl-C",
    StopLevel.SIGTERM: "SIGTERM",
}
# Seconds between two agreements on signals, so that rounds of microseconds do not cost an exchange each. Open MPI 5's
# mpirun turns a Ctrl-C or SIGTERM of its own into SIGTERM for the ranks and kills them 0.25 s later, with any
# options: the ranks must have agreed well before that.
SECONDS_BETWEEN = 0.05
# Seconds that a command which ends at once has for removing temporary files. pyarrow and the like, in whose calls a
# signal is received, swallow SystemExit or turn it into an error of their own: the command would go on.
SECONDS_TO_LEAVE = 2.0


class ExternalStop(Protocol):
    """A reason to end besides signals; `mpiopt.resilience.deadline.Deadline` is one."""

    def level(self, round_seconds: float) -> StopLevel:
        """Return how urgently the run should end now, if the next chance comes after `round_seconds`."""

    def saved(self, seconds: float) -> None:
        """Take note of a checkpoint that took `seconds`."""


class StopSignal:
    """The signals that this rank has received, and the level on which all ranks have agreed.

    Parameters
    ----------
    now : callable, optional
        A clock in seconds; `time.monotonic` by default.

    Attributes
    ----------
    level : int
        Highest `StopLevel` that this rank has received.
    elapsed : float
        Seconds since `restart_clock` at the last agreement, on the slowest rank. All ranks have the same number, so
        they may decide by it.
    left : int
        Exit code of a signal that ends a command without a state to save; 0 before it.

    Examples
    --------
    >>> from mpiopt.comm.threads import single
    >>> from mpiopt.compress.channel import Channel
    >>> from mpiopt.resilience.signals import StopLevel, StopSignal
    >>> stop = StopSignal()
    >>> stop.level = StopLevel.SIGTERM
    >>> stop.agreed(Channel(single())), stop.reason, stop.exit_code
    (5, 'SIGTERM', 143)
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.level = 0
        self._now = now
        self._rounds, self._period, self._since = 0, 1, now()
        self._agreed, self._start = 0, now()
        self._interrupted = False
        self.elapsed, self.left = 0.0, 0

    def install(self) -> None:
        """Handle SIGINT, SIGTERM and SIGUSR1; call it in the main thread."""
        for number in LEVELS:
            signal.signal(number, self._receive)

    def end_at_once(self, tell: bool) -> None:
        """Let SIGINT and SIGTERM end this process at once, for commands without a state to save.

        Parameters
        ----------
        tell : bool
            Whether to print the name of the signal on stderr.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: self._leave(number, tell))

    def _leave(self, number: int, tell: bool) -> None:
        """Raise SystemExit; end the process a little later if a library swallows it."""
        if tell and not self.left:
            print(f"mpiopt: stopped by {NAMES[LEVELS[signal.Signals(number)]]}", file=sys.stderr, flush=True)
        self.left = EXIT_CODES[LEVELS[signal.Signals(number)]]
        last = threading.Timer(SECONDS_TO_LEAVE, os._exit, [self.left])
        last.daemon = True
        last.start()
        raise SystemExit(self.left)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            # The user presses Ctrl-C a second time to end the run now, without a checkpoint.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        self._interrupted |= number == signal.SIGINT
        self.level = max(self.level, LEVELS[signal.Signals(number)])

    def agreed(self, channel: Channel, external: ExternalStop | None = None) -> int:
        """Return the highest level over the ranks, 0 for none; collective, called at the end of every round.

        The ranks exchange only in some rounds, the same on all ranks. After each exchange all of them know how long
        a round takes on the slowest rank; from that they compute how many rounds fill SECONDS_BETWEEN.

        Parameters
        ----------
        channel : Channel
            The exchanges between the ranks.
        external : ExternalStop, optional
            Another reason to end; one rank is enough to have it.

        Returns
        -------
        int
            A `StopLevel`, equal on all ranks. Once it is not 0 it stays.
        """
        self._rounds += 1
        if self._agreed or self._rounds < self._period:
            return self._agreed
        now = self._now()
        if external is not None:
            self.level = max(self.level, external.level((now - self._since) / self._rounds))
        mine = np.array([float(self.level), (now - self._since) / self._rounds, now - self._start])
        level, slowest, self.elapsed = channel.max_uncounted(mine).tolist()
        self._agreed = int(level)
        self._period = _next_period(self._period, slowest)
        self._rounds, self._since = 0, self._now()
        return self._agreed

    def restart_clock(self) -> None:
        """Count `elapsed` from now on: on each rank when it begins its run."""
        self._start, self.elapsed = self._now(), 0.0

    def realign(self, comm: Comm) -> None:
        """Start again on another communicator, whose ranks may have stopped at different exchanges; collective."""
        self._rounds, self._period, self._agreed = 0, 1, 0
        self.elapsed = float(comm.max(np.array([self._now() - self._start]))[0])
        self._since = self._now()

    def saved(self, seconds: float, external: ExternalStop | None = None) -> None:
        """Take note of a checkpoint that took `seconds`: all ranks agree again at the next call of `agreed`."""
        if external is not None:
            external.saved(seconds)
        self._period = 1

    @property
    def exit_code(self) -> int:
        """The exit code of the agreed level; 0 for none."""
        return EXIT_CODES.get(StopLevel(self._agreed), 0)

    @property
    def reason(self) -> str:
        """The agreed level in words; "" for none."""
        return NAMES.get(StopLevel(self._agreed), "")


def _next_period(period: int, seconds: float) -> int:
    # At most doubled: a first round is often faster than the later ones.
    longest = SECONDS_BETWEEN / max(seconds, 1e-9)
    return max(1, min(2 * period, math.floor(longest)))
