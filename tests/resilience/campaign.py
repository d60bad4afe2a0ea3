"""Train, kill, look at what is on disk, resume; again until so many kills are done.

A run is plain SAGA on real or made-up rows with a checkpoint after every round, so that most of its time is writing
and a kill often falls into a write. Each start is killed at a random instant after its first checkpoint: one rank,
all ranks, or all ranks while an unfinished file exists. The next start must go on from the newest whole checkpoint or
the one before. A run that ends must be certified, and its coefficients and history must be bit for bit those of a run
without a kill.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mpiopt.core.processes import children
from mpiopt.resilience.checkpoint.header import parse, read_text
from mpiopt.results.result_file import read_result
from tests.cases.processes import running, until
from tests.conftest import NOT_STARTED

KINDS = ("one rank", "all ranks", "during the write")
TRAIN = ("-m", "mpi4py", "-m", "mpiopt", "train")
WORDS = ("generate:n=8000,d=30,condition=1e2,task=binary", "--tol", "1e-5", "--checkpoint-every", "1rounds")
PLAIN = ("--algorithm", "saga[preconditioner=none,local_steps=1000]")
SAME = ["round", "epoch", "objective", "certificate", "step_size"]  # columns of the history that are no clock
EVALUATED = 40  # rounds between two evaluations, at most
REPORTED = re.compile(r"round (\d+)")
FAILED_STARTS = 3  # of mpirun, which happen once in some thousand
SECONDS = 60.0  # in which a start must do what is expected of it


@dataclass
class Tally:
    kills: Counter[str] = field(default_factory=Counter)
    unfinished: int = 0  # files that a kill left unfinished
    lost: int = 0  # checkpoints that were in place at a kill and from which the next start did not go on
    runs: int = 0  # runs from nothing to a certified end
    slowest_end: float = 0.0  # seconds from a kill to the end of the launcher

    def __str__(self) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills ({kinds}); {self.unfinished} left an unfinished file; "
            f"{self.lost} newest checkpoints were lost; {self.runs} runs were "
            f"certified; a kill ended all ranks in {self.slowest_end:.1f} s at most"
        )


@dataclass
class Campaign:
    """One folder in which runs are killed; `start(folder)` starts a run and returns the process of its launcher."""

    folder: Path
    start: Callable[[Path], subprocess.Popen[bytes]]
    undisturbed: Path  # the result of a run that nobody killed
    chance: random.Random
    failed_starts: int = 0
    tally: Tally = field(default_factory=Tally)

    @property
    def ckpt(self) -> Path:
        return self.folder / "run.ckpt"

    def numbers(self) -> list[int]:
        """Return the numbers of the committed checkpoints."""
        return sorted(int(p.stem) for p in self.ckpt.glob("??????.h5"))

    def rounds(self) -> list[int]:
        """Return the rounds of the committed checkpoints."""
        return [parse(read_text(self.ckpt / f"{n:06d}.h5")).k for n in self.numbers()]

    def go(self, kills: int) -> Tally:
        """Kill so many times, each kind in turn; then let the last run end."""
        while (done := self.tally.kills.total()) < kills:
            self.run_once(KINDS[done % len(KINDS)])
        while not self.run_once(""):
            pass
        return self.tally

    def run_once(self, kind: str) -> bool:
        """Run until the kill or the certified end; return True for the end."""
        rounds = self.rounds()
        before = max(self.numbers(), default=0)
        with self.start(self.folder) as process:
            killed = bool(kind) and self.await_saves(process, before) and self.strike(process, kind)
            code = process.wait(timeout=4 * SECONDS)
        if code == NOT_STARTED and not killed and self.failed_starts < FAILED_STARTS:
            self.failed_starts += 1
            return self.run_once(kind)
        self.check_going_on(rounds)
        if killed:
            self.tally.kills[kind] += 1
            self.check_disk(before)
        if killed and not (self.folder / "run.h5").exists():
            return False
        assert killed or code == 0, (code, self.log())
        self.check_end()  # also where the kill came between the result and the end of the launcher
        self.anew()
        return True

    def await_saves(self, process: subprocess.Popen[bytes], before: int) -> bool:
        """Wait until this start has saved; return False if it ended first."""
        deadline = time.monotonic() + SECONDS
        while max(self.numbers(), default=0) <= before:
            if process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"nothing saved in {SECONDS} s: {self.log()}"
            time.sleep(0.002)
        time.sleep(self.chance.uniform(0.0, 2.0))
        return process.poll() is None

    def strike(self, process: subprocess.Popen[bytes], kind: str) -> bool:
        """Kill, and check that all ranks end in seconds; return False if the run ended before."""
        ranks = children(process.pid)
        if kind == "during the write":
            self.await_partial(process)
        victims = [self.chance.choice(ranks)] if kind != "all ranks" and ranks else ranks
        for number in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        began = time.monotonic()
        code = process.wait(timeout=SECONDS)
        self.tally.slowest_end = max(self.tally.slowest_end, time.monotonic() - began)
        wait_gone(ranks)
        return code != 0

    def await_partial(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not list(self.ckpt.glob("*.partial")):
            pass

    def check_disk(self, before: int) -> None:
        """One to three checkpoints are left, the newest of them from this start."""
        numbers = self.numbers()
        assert numbers, "no checkpoint is left"
        assert numbers[-1] > before
        assert len(numbers) <= 3, numbers
        self.tally.unfinished += bool(list(self.ckpt.glob("*.partial")))

    def check_going_on(self, rounds: list[int]) -> None:
        """The first round that this start reported comes after the newest checkpoint, or after the one before."""
        reported = REPORTED.search(self.log())
        if not rounds or reported is None:
            return
        first = int(reported.group(1))
        assert min(rounds[-2:]) < first <= rounds[-1] + EVALUATED, (rounds, first)
        self.tally.lost += first <= rounds[-1] or "is damaged" in self.log()

    def check_end(self) -> None:
        """The result is bit for bit that of the run that nobody killed."""
        mine, whole = read_result(self.folder / "run.h5"), read_result(self.undisturbed)
        assert mine.coef.tobytes() == whole.coef.tobytes()
        for column in SAME:
            assert mine.history[column].tobytes() == whole.history[column].tobytes(), column

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def anew(self) -> None:
        """Remove the finished run."""
        self.tally.runs += 1
        for path in [*self.ckpt.iterdir(), self.folder / "run.h5"]:
            path.unlink()
        self.ckpt.rmdir()


def wait_gone(numbers: list[int]) -> None:
    """Check that these processes end."""
    until(lambda: not any(map(running, numbers)), SECONDS, lambda: f"ranks still run after the launcher: {numbers}")
