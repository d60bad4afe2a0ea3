"""One run from which ranks are taken again and again: trains of deaths, two at once, while the others recover.

    python -m tests.resilience.trains --deaths 100 --recovery stateless --seconds 900
    python -m tests.resilience.trains --table --seconds 120 --within 700

The run is started by `mpiopt launch` on RANKS ranks and pauses after each round, so that it lasts. After the first
round of each start, ranks are killed at instants of a Poisson process; in one of five two die at once. When there
were as many deaths as asked for, the run is left alone. It must end certified, near the optimum. With `--table` the
failures come every 1, 5 and 30 s in the mean, for each strategy, beside none; that takes ten minutes on an idle
machine, and never longer than `--within`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mpiopt.core.processes import children, ranks_of
from mpiopt.results.result_file import read_result
from tests.conftest import paused
from tests.resilience.deaths import ROOT, STRATEGIES, variables

RANKS, TOL, RIDGE = 4, 1e-8, "1e-2"
DATA = "generate:n=4000,d=20,condition=1e2,task=binary"
ALGORITHM = "saga[preconditioner=none,local_steps=40]"
TWO = 0.2  # of the instants, two ranks die at once
INTERVALS = (0.0, 30.0, 5.0, 1.0)  # seconds between failures in the mean; 0: none


@dataclass
class Train:
    """What became of a run."""

    recovery: str
    every: float  # seconds between two failures in the mean; 0: none
    ending: str = ""
    deaths: int = 0
    at_once: int = 0  # of the instants, those with two deaths
    recovering: int = 0  # deaths less than a second after the one before
    starts: int = 1
    in_place: int = 0  # recoveries without a start
    rounds: int = 0  # of the result
    seconds: float = 0.0

    def line(self) -> str:
        """Return a row of the table."""
        every = f"{self.every:g} s" if self.every else "none"
        return (
            f"| {self.recovery} | {every} | {self.deaths} | {self.at_once} | {self.recovering} | {self.in_place} | "
            f"{self.starts} | {self.rounds or '-'} | {self.seconds:.0f} | {self.ending} |"
        )


HEADER = (
    "| recovery | a failure every | deaths | two at once | within 1 s of another | recovered in place | starts "
    "| rounds | seconds | ending |\n|---|---|---|---|---|---|---|---|---|---|"
)


class Run:
    """One run under `launch`, and the hand that kills its ranks."""

    def __init__(self, folder: Path, recovery: str, every: float, seed: int, pause: float) -> None:
        self.folder, self.train, self.pause = folder, Train(recovery, every), pause
        self.chance, self.last, self.next = random.Random(f"{recovery} {every} {seed}"), 0.0, 0.0
        self.log = folder / "log"

    def go(self, deaths: int, seconds: float) -> Train:
        """Kill so many ranks, then wait for the end; give up after so many seconds."""
        began = time.monotonic()
        with self.log.open("w") as log:
            process = subprocess.Popen(self.command(), cwd=ROOT, stdout=log, stderr=log, env=self.environment())
        while process.poll() is None and time.monotonic() - began < seconds:
            if self.train.every and self.train.deaths < deaths and self.is_working():
                self.strike(process)
            time.sleep(0.05)
        self.train.seconds = time.monotonic() - began
        self.train.ending = self.judged(process.poll())
        if process.poll() is None:
            end(process)
        text = self.log.read_text()
        self.train.starts += text.count("started again")
        self.train.in_place = text.count("going on from round")
        return self.train

    def is_working(self) -> bool:
        """Return whether the present start has reported a round."""
        text = self.log.read_text()
        return "] " in text[max(0, text.rfind("started again")) :]

    def strike(self, process: subprocess.Popen[bytes]) -> None:
        """Kill one rank or two where the instant has come, and draw the next one."""
        now = time.monotonic()
        self.next = self.next or now + self.chance.expovariate(1.0 / self.train.every)
        if now < self.next:
            return
        self.next = 0.0
        ranks = sorted(ranks_of(process.pid))
        victims = self.chance.sample(ranks, min(len(ranks), 2 if self.chance.random() < TWO else 1))
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self.train.deaths += 1
        self.train.at_once += len(victims) > 1
        self.train.recovering += bool(victims) and now - self.last < 1.0
        self.last = now if victims else self.last

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "mpiopt", "launch", "-n", str(RANKS), "--max-restarts", "1000", "--", "train"),
            *(DATA, "--algorithm", ALGORITHM, "--l2", RIDGE, "--tol", str(TOL), "--checkpoint-every", "5rounds"),
            *("--recovery", self.train.recovery, "--out", str(self.folder / "run.h5")),
        ]

    def environment(self) -> dict[str, str]:
        return {**variables(), **paused(self.pause)}

    def judged(self, code: int | None) -> str:
        if code is None:
            return "not certified in time"
        if code:
            return f"code {code}"
        result = read_result(self.folder / "run.h5")
        self.train.rounds = int(result.history["round"][-1])
        off = float(result.history["objective"][-1]) - optimum()
        right = result.history["certificate"][-1] <= TOL and off <= 1.01 * TOL * abs(optimum())
        return "certified" if right else "WRONG"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a run that is given up, and its ranks."""
    pids = [pid for mpirun in children(process.pid) for pid in [*children(mpirun), mpirun]]
    for pid in [process.pid, *pids]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def optimum(kept: dict[str, float] = {}) -> float:  # noqa: B006  computed once
    """Return F at the optimum, by Newton's method in this process."""
    if not kept:
        from mpiopt.comm.threads import single
        from mpiopt.resilience.signals import StopSignal
        from mpiopt.training.train import train

        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "best.h5")
            words = [DATA, "--l2", RIDGE, "--algorithm", "newton", "--tol", "1e-13", "--out", out, "--quiet"]
            train(words, single(), StopSignal())
            kept["value"] = float(read_result(out).history["objective"].min())
    return kept["value"]


def ride(recovery: str, every: float, deaths: int, seconds: float, seed: int, pause: float) -> Train:
    """Make one run in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="mpiopt-trains-"))
    try:
        return Run(folder, recovery, every, seed, pause).go(deaths, seconds)
    finally:
        shutil.rmtree(folder)


def main() -> int:
    """Make the runs of the command line; return 1 if one is wrong."""
    parser = argparse.ArgumentParser(prog="tests.resilience.trains")
    parser.add_argument("--deaths", type=int, default=100)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two failures in the mean")
    parser.add_argument("--recovery", default="stateless")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--seconds", type=float, default=900.0, help="after which a run is given up")
    parser.add_argument("--within", type=float, default=float("inf"), help="seconds that all runs may take together")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds that each round takes in addition")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="")
    asked = parser.parse_args()
    kinds = [(r, e) for e in INTERVALS for r in STRATEGIES] if asked.table else [(asked.recovery, asked.every)]
    print(HEADER, flush=True)
    done, end_of_all = [], time.monotonic() + asked.within
    for recovery, every in kinds:
        deaths = 10**6 if asked.table else asked.deaths
        seconds = min(asked.seconds, end_of_all - time.monotonic())
        if seconds <= 0.0:
            break
        done.append(ride(recovery, every, deaths, seconds, asked.seed, asked.pause))
        print(done[-1].line(), flush=True)
        if asked.out:
            Path(asked.out).write_text(json.dumps([asdict(one) for one in done], indent=1))
    return int(any(one.ending == "WRONG" or one.ending.startswith("code") for one in done))


if __name__ == "__main__":
    sys.exit(main())
