"""Nothing waits for ever: a round that takes many times as long as the longest one before ends the job.

A dead rank is noticed by MPI. A rank that lives and does not arrive, or a file system that does not answer, is not:
the others would wait until the time limit of the job. So a thread of each rank watches the time since the last round.
It prints where this rank stands and ends the process with the code after which a launcher starts the job again from
its checkpoint. Time in which the whole process was stopped (a suspended job, SIGSTOP) does not count.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TextIO

from mpiopt.comm.membership import AGAIN

VARIABLE = "MPIOPT_ROUND_LIMIT"  # environment variable with another number of seconds in place of LEAST
LEAST = 600.0  # seconds that a round may take in any case: compiling, a slow disk
FACTOR = 10.0  # a round may take so many times the longest one before it
POLL = 0.5  # seconds between two looks
GRACE = 3.0  # seconds in which the other ranks notice it, too, and print where they stand


class RoundLimit:
    """Watches the rounds of this rank while its `with` block runs.

    Parameters
    ----------
    rank : int
        This rank, for the message.
    prepared : float
        Seconds that reading and preparing took: until a round has ended, the first may take FACTOR times as long.
    environment : mapping
        May say another LEAST.
    end : callable
        Ends the process with an exit code.
    stream : file, optional
        Where the stack goes; the standard error by default.
    """

    def __init__(
        self,
        rank: int,
        prepared: float,
        environment: Mapping[str, str] = os.environ,
        end: Callable[[int], object] = os._exit,
        stream: TextIO | None = None,
    ) -> None:
        self._rank, self._prepared, self._end, self._stream = rank, prepared, end, stream
        self._least = float(environment.get(VARIABLE, LEAST))
        self._poll = min(POLL, self._least / 4.0)
        self._waited, self._longest, self._what = 0.0, 0.0, ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="round limit", daemon=True)

    @property
    def limit(self) -> float:
        """The seconds that a round may take now."""
        return max(self._least, FACTOR * (self._longest or self._prepared))

    def begin(self, what: str) -> None:
        """Note that the last round, or checkpoint, is done, and what comes next."""
        if self._what:
            self._longest = max(self._longest, self._waited)
        self._waited, self._what = 0.0, what

    def __enter__(self) -> Self:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Watch no longer."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.wait(self._poll):
            now = time.monotonic()
            self._waited += min(now - last, 2.0 * self._poll)
            last = now
            if self._waited > self.limit:
                self._leave()
                return

    def _leave(self) -> None:
        stream = self._stream or sys.stderr
        what = self._what or "the start of the run"
        print(
            f"mpiopt: rank {self._rank}: {what} takes more than {self.limit:.4g} s, {FACTOR:g} times the longest "
            f"before; ended with code {AGAIN}, to be started again from the checkpoint; it stands here:",
            file=stream,
            flush=True,
        )
        faulthandler.dump_traceback(stream, all_threads=True)
        time.sleep(min(GRACE, self._least))
        self._end(AGAIN)
