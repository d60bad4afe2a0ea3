"""Runs on 4 ranks of which some are killed at any instant; each run must still end certified.

    python -m tests.resilience.deaths --runs 200 --seed 1 [--only stateless,chain] [--algorithms saga,lbfgs] [--out
    FILE]

A run is started by `mpiopt launch`; one rank, sometimes two, get SIGKILL at instants drawn over the whole run, from
the start of Python to the writing of the result. The same seed draws the same instants, so that a campaign can be run
in pieces; where FILE exists its counts are added to.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from mpiopt.comm.threads import spmd
from mpiopt.core.processes import children, ranks_of
from mpiopt.results.contents import contents
from mpiopt.results.result_file import read_result

ROOT = Path(__file__).resolve().parents[2]
STRATEGIES = ("stateless", "chain", "checkpoint")
ALGORITHMS = {
    "saga": ("saga[preconditioner=none,local_steps=100]", "1e-6"),
    "lbfgs": ("lbfgs[sampled=false,memory=3]", "1e-9"),
}
DATA = "generate:n=8000,d=30,condition=1e3,task=binary"
RANKS = 4
HANG = 150.0  # seconds after which a run counts as hung
START = 0.15  # of the kills come before the first round
SECOND = 0.3  # of the runs lose a second rank, half of them
SOON = 0.8  # seconds or less after the first, while the others recover
LOST = re.compile(r"(\d+:\d+:\d+\.\d+) lost ranks: ([\d, ]+|none), in round (\d+)")
BACK = re.compile(r"going on from round (\d+), (-?\d+) rounds and (\S+) epochs back; (\S+) s")


@dataclass
class Tally:
    """What became of the runs of one strategy and algorithm."""

    in_place: int = 0  # certified, exit code 0, ranks were lost and the others went on
    restarted: int = 0  # certified, exit code 0, started again by the launcher
    undisturbed: int = 0  # certified before the kill came
    clear: int = 0  # another exit code of those that are documented, and a checkpoint that loads
    unclear: int = 0
    hung: int = 0
    wrong: int = 0
    soon: int = 0  # of all, runs in which a second rank was to die while the others recovered
    detected: list[float] = field(default_factory=list)  # seconds from the kill to the survivors' agreement
    resumed: list[float] = field(default_factory=list)  # seconds from there to the first round
    rounds: list[float] = field(default_factory=list)  # lost
    epochs: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """Runs that lost a rank."""
        return self.in_place + self.restarted + self.clear + self.unclear + self.hung + self.wrong

    def line(self) -> str:
        """Return the counts in words."""
        good = self.in_place + self.restarted
        return (
            f"{self.killed} runs lost ranks: {good} certified with exit code 0 ({self.in_place} in place, "
            f"{self.restarted} started again), {self.clear} clear code, {self.unclear} unclear, {self.hung} hung, "
            f"{self.wrong} wrong; {self.undisturbed} had ended before; {self.soon} second kills during a recovery; "
            f"detection {middle(self.detected)} s, "
            f"going on {middle(self.resumed)} s; lost {middle(self.rounds)} rounds, {middle(self.epochs)} epochs"
        )


def middle(numbers: list[float]) -> str:
    """Return median and maximum in words."""
    return f"{statistics.median(numbers):.3g} (max {max(numbers):.3g})" if numbers else "-"


@dataclass
class Deaths:
    """Runs of one strategy and algorithm."""

    folder: Path
    strategy: str
    algorithm: str
    chance: random.Random
    best: float  # F at the optimum
    options: tuple[str, ...] = ()
    starting: float = 4.0  # seconds until the first round, as measured
    working: float = 2.0  # and from there to the end
    tally: Tally = field(default_factory=Tally)

    def run(self) -> None:
        """Start, kill, wait, judge."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        instants = [self.chance.random() for _ in range(1 + (self.chance.random() < SECOND))]
        victims = [self.chance.random() for _ in instants]
        soon = len(instants) > 1 and self.chance.random() < 0.5
        began = time.monotonic()
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen(self.command(), cwd=ROOT, stdout=log, stderr=log, env=variables())
        kills, first = [], 0.0
        for instant, victim in zip(sorted(instants), victims, strict=True):
            if soon and kills:
                self.tally.soon += 1
                kills += self.kill(process, time.monotonic() + self.chance.random() * SOON, victim)
            elif instant < START:
                kills += self.kill(process, began + instant / START * self.starting, victim)
            else:
                first = first or self.await_rounds(process)
                kills += self.kill(process, first + (instant - START) / (1 - START) * self.working, victim)
        if first:
            self.starting += 0.3 * (first - began - self.starting)
        try:
            code = process.wait(max(1.0, began + HANG - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.note("hung")
            self.tally.hung += 1
            for mpirun in [*children(process.pid), process.pid]:
                for pid in [*children(mpirun), mpirun]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            process.wait()
            return
        if first:
            self.working += 0.3 * (time.monotonic() - first - self.working)
        self.judge(code, kills)

    def await_rounds(self, process: subprocess.Popen[bytes]) -> float:
        """Wait until a round is reported; return that instant."""
        while process.poll() is None and "] " not in (self.folder / "log").read_text():
            time.sleep(0.005)
        return time.monotonic()

    def command(self) -> list[str]:
        algorithm, tol = ALGORITHMS[self.algorithm]
        return [
            *(sys.executable, "-m", "mpiopt", "launch", "-n", str(RANKS), "--", "train", DATA),
            *("--algorithm", algorithm, "--tol", tol, "--l2", "1e-4", "--checkpoint-every", "40rounds"),
            *("--recovery", self.strategy, "--out", str(self.folder / "run.h5"), *self.options),
        ]

    def kill(self, process: subprocess.Popen[bytes], instant: float, victim: float) -> list[float]:
        """Kill one rank at the instant, or as soon as there is one; return the time of day, nothing if all had ended.

        The instant is one of the run: the clock runs from the start of the launcher.
        """
        while process.poll() is None:
            ranks = ranks_of(process.pid)
            if time.monotonic() >= instant and ranks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(sorted(ranks)[int(victim * len(ranks))], signal.SIGKILL)
                    return [time.time()]
            time.sleep(0.002)
        return []

    def judge(self, code: int, kills: list[float]) -> None:
        log = (self.folder / "log").read_text()
        restarted = "started again" in log
        if code == 0 and not self.right():
            self.tally.wrong += 1
            self.note("wrong")
        elif code == 0 and restarted:
            self.tally.restarted += 1
        elif code == 0 and (LOST.search(log) or self.fewer()):
            self.tally.in_place += 1
            self.measure(log, kills)
        elif code == 0:
            self.tally.undisturbed += 1
        elif code in (75, 76) and self.loads():
            self.tally.clear += 1
            self.note(f"code {code}")
        else:
            self.tally.unclear += 1
            self.note(f"code {code}")

    def right(self) -> bool:
        """Return whether the result is certified and near the optimum."""
        try:
            result = read_result(self.folder / "run.h5")
        except ValueError:
            return False
        last, tol = result.history[-1], float(ALGORITHMS[self.algorithm][1])
        return last["certificate"] <= tol and last["objective"] - self.best <= 1.01 * tol * abs(self.best)

    def fewer(self) -> bool:
        """Return whether a rank was lost before the work began."""
        return int(read_result(self.folder / "run.h5").provenance["ranks"]) < RANKS

    def loads(self) -> bool:
        """Return whether the newest checkpoint can be read."""
        files = sorted((self.folder / "run.ckpt").glob("??????.h5"))
        return not files or bool(contents(str(files[-1])))

    def measure(self, log: str, kills: list[float]) -> None:
        """Add detection and recovery times, and the work that was lost."""
        for at, _, _ in LOST.findall(log):
            clock = datetime.combine(datetime.now().date(), datetime.strptime(at, "%H:%M:%S.%f").time()).timestamp()
            before = [kill for kill in kills if kill <= clock + 0.001]
            if before:
                self.tally.detected.append(max(0.0, clock - before[-1]))
        for _, rounds, epochs, seconds in BACK.findall(log):
            self.tally.rounds.append(float(rounds))
            self.tally.epochs.append(float(epochs))
            self.tally.resumed.append(float(seconds))

    def note(self, what: str) -> None:
        """Keep the end of the log of a run that did not go as it should."""
        log = (self.folder / "log").read_text()[-3000:]
        self.tally.notes.append(f"{self.strategy} {self.algorithm}: {what}\n{log}")


def variables() -> dict[str, str]:
    """Return the environment of a run, with watchdogs that end it before the campaign calls it hung."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("PMIX_", "PMI_", "OMPI_COMM_", "SLURM_"))}
    return {**outer, "MPIOPT_WATCHDOG": "30", "PYTHONPATH": str(ROOT)}


def optimum() -> float:
    """Return F at the optimum of the campaign's problem, by Newton's method in this process."""
    from mpiopt.resilience.signals import StopSignal
    from mpiopt.training.train import train

    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "best.h5")
        words = [DATA, "--l2", "1e-4", "--algorithm", "newton", "--tol", "1e-13", "--out", out, "--quiet"]
        spmd(1, lambda comm: train(words, comm, StopSignal()))
        return float(read_result(out).history["objective"].min())


def main() -> int:
    """Run a campaign; return 1 if fewer than 99 % end as they should, or if one hangs or is wrong."""
    parser = argparse.ArgumentParser(prog="tests.resilience.deaths", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="for each strategy and algorithm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(STRATEGIES))
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no run after so long")
    parser.add_argument("--out", default="", help="a JSON file of counts to add to")
    asked = parser.parse_args()
    best, began = optimum(), time.monotonic()
    where = tempfile.mkdtemp(prefix="mpiopt-deaths-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    pairs = [(s, a) for s in asked.only.split(",") for a in asked.algorithms.split(",")]
    old = json.loads(Path(asked.out).read_text()) if asked.out and Path(asked.out).exists() else {}
    campaigns = [
        Deaths(Path(where) / f"{s}-{a}", s, a, random.Random(f"{asked.seed} {s} {a}"), best) for s, a in pairs
    ]
    for one in campaigns:
        one.tally = Tally(**old.get(f"{one.strategy} {one.algorithm}", {}))
    for turn in range(asked.runs * len(campaigns)):
        if time.monotonic() - began > asked.seconds:
            break
        campaigns[turn % len(campaigns)].run()
        if asked.out:
            done = {f"{one.strategy} {one.algorithm}": asdict(one.tally) for one in campaigns}
            Path(asked.out).write_text(json.dumps(old | done, indent=1))
    for one in campaigns:
        print(f"{one.strategy} {one.algorithm}: {one.tally.line()}")
        print("\n".join(one.tally.notes))
    shutil.rmtree(where)
    return int(not all(passed(one.tally) for one in campaigns))


def passed(tally: Tally) -> bool:
    """Return whether a tally is as it should be."""
    good = tally.in_place + tally.restarted
    return tally.hung == tally.wrong == 0 and good >= 0.99 * tally.killed > 0


if __name__ == "__main__":
    sys.exit(main())
