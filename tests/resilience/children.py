"""Trials in child processes that are made of a warm one: many trials a child, and each crash and hang is found.

A child makes the trials of its batch one after the other and tells each ending through a pipe. One that ends early,
or does not go on, was at the first trial that it has not told; the next child begins behind it. The limits are of CPU
time and of time in which this process was awake: a loaded machine, or a pause by SIGSTOP, ends no trial.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import json
import os
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a folder in memory for the files of trials
TICK = 0.5  # seconds between two looks at children that tell nothing
HERTZ = os.sysconf("SC_CLK_TCK")
CPU = slice(11, 15)  # of /proc/PID/stat behind the name: user and system time, its own and that of ended children


@dataclass(frozen=True)
class Harness:
    """A kind of trials: how they are made, judged and counted."""

    trial: Callable[[int], tuple[str, str]]  # in the child: how trial k ended, in words, and what is to be told of it
    kind_of: Callable[[int], str]
    faults: tuple[str, ...]  # the endings that are faults
    died: Callable[[int], str]  # the ending of a trial that ended its process, from the exit code; -number: a signal
    prepared: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext  # around all, in the parent
    inside: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext  # around a batch, in the child
    spoils: Callable[[int], bool] = lambda number: False  # whether memory cannot be trusted after trial k
    batch: int = 100  # trials a child
    cpu: float = 30.0  # seconds of CPU that a trial may take
    awake: float = 600.0  # seconds that it may take while this process was not stopped


class Child:
    """A process that makes some trials."""

    def __init__(self, harness: Harness, batch: list[int], folder: str) -> None:
        self.harness, self.batch, self.first = harness, batch, batch[0]
        self.pipe, told = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._work(told, folder)
        os.close(told)
        os.set_blocking(self.pipe, False)
        self._text, self._cpu, self._awake, self._looked, self._ended = b"", 0.0, 0.0, time.monotonic(), False

    def _work(self, told: int, folder: str) -> None:
        global MEMORY
        code, MEMORY = 1, folder  # it goes with the run, also where this process is killed
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            faulthandler.disable()  # the parent tells of a signal
            with self.harness.inside():
                for number in self.batch:
                    os.write(told, (json.dumps([number, *self._ending(number)]) + "\n").encode())
                    if self.harness.spoils(number):
                        break
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _ending(self, number: int) -> tuple[str, str]:
        try:
            ending, shown = self.harness.trial(number)
            return ending, shown[-1500:]
        except Exception:
            return "broken", traceback.format_exc()[-1500:]

    def told(self) -> Iterator[tuple[int, str, str]]:
        """Yield the trials that have ended."""
        with contextlib.suppress(BlockingIOError):
            while block := os.read(self.pipe, 1 << 16):
                self._text += block
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            number, ending, shown = json.loads(line)
            self.batch.remove(number)
            self._awake, self._cpu = 0.0, self._spent()
            yield number, ending, shown

    def ending(self) -> str | None:
        """Return how the trial at hand ended the process, "" if none did; None while it works."""
        found, status = os.waitpid(self.pid, os.WNOHANG)
        if found:
            self._ended = True
            code = os.waitstatus_to_exitcode(status)
            return self.harness.died(code) if code else ""
        now = time.monotonic()
        self._awake += min(now - self._looked, 2.0 * TICK)
        self._looked = now
        late = self._awake > self.harness.awake or self._spent() - self._cpu > self.harness.cpu
        if late:
            self.kill()
        return "hang" if late else None

    def kill(self) -> None:
        if not self._ended:
            self._ended = True
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _spent(self) -> float:
        if self._ended:
            return 0.0
        with open(f"/proc/{self.pid}/stat") as file:
            return sum(map(int, file.read().rpartition(")")[2].split()[CPU])) / HERTZ


def made(harness: Harness, numbers: Iterator[int], jobs: int = 1) -> Iterator[tuple[int, str, str]]:
    """Make the trials of these numbers, in so many children at once; yield number, ending, and what is to be told."""
    children: list[Child] = []
    with tempfile.TemporaryDirectory(prefix="mpiopt-trials-", dir=MEMORY) as folder, contextlib.ExitStack() as end:
        end.callback(lambda: [child.kill() for child in children])
        while True:
            while len(children) < jobs and (batch := list(itertools.islice(numbers, harness.batch))):
                children.append(Child(harness, batch, folder))
            if not children:
                return
            select.select([child.pipe for child in children], [], [], TICK)
            for child in tuple(children):
                ending = child.ending()
                yield from child.told()
                if ending is None:
                    continue
                children.remove(child)
                os.close(child.pipe)
                if ending and child.batch:
                    yield child.batch.pop(0), ending, f"in the process that began with trial {child.first}"
                numbers = itertools.chain(child.batch, numbers)
