"""`python -m benchmarks.lost`: the work that a failure costs with each recovery, beside the formula.

In a long run of plain SAGA on 4 ranks, one rank and later another gets SIGKILL at a random instant. Each recovery
reports how many completed rounds and epochs are recomputed; add half a round, on average, for the interrupted one.
Formula: if the state is saved every R rounds, (R − 1)/2 completed rounds are lost on average.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.large import descendants

BACK = re.compile(r"going on from round (\d+), (-?\d+) rounds and (\S+) epochs back; (\S+) s")
ROWS, COLUMNS, LOCAL = 200_000, 100, 50_000  # a round is an epoch, much longer than saving the state
DATA = f"generate:n={ROWS},d={COLUMNS},condition=1e6,task=binary"
PLAIN = f"saga[preconditioner=none,local_steps={LOCAL},refresh=0]"


@dataclass
class Setting:
    """A recovery and how often it saves the state."""

    recovery: str
    every: int  # R, rounds; 0: chosen by the recovery
    rounds: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The recovery as it is written in a job."""
        return f"chain[every={self.every}]" if self.recovery == "chain" else self.recovery

    @property
    def formula(self) -> str:
        """The completed rounds that are lost on average."""
        return f"{(self.every - 1) / 2:g}" if self.every else "the rounds since the last copy (2 % of the time)"

    def line(self) -> str:
        """Return the line of the table."""
        n, mean, most = len(self.rounds), statistics.fmean(self.rounds), max(self.rounds)
        error = statistics.stdev(self.rounds) / n**0.5 if n > 1 else float("nan")
        interval = f"every {self.every} rounds" if self.every else ""
        return (
            f"| {self.recovery} | {interval} | {n} | {self.formula} | {mean:.1f} ± {error:.1f} ({most:.0f}) | "
            f"{statistics.fmean(self.epochs):.2f} | {statistics.median(self.seconds):.2f} ({max(self.seconds):.2f}) |"
        )


SETTINGS = (
    *(Setting("checkpoint", every) for every in (20, 80)),
    *(Setting("chain", every) for every in (5, 20, 80)),
    Setting("stateless", 0),
)


def ranks_of(pid: int) -> list[int]:
    """Return the processes of the ranks below the launcher."""
    found = []
    for child in descendants(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"train" in words and b"launch" not in words and b"mpirun" not in words[0] and b"prterun" not in words[0]:
            found.append(child)
    return sorted(found)


def run(setting: Setting, kills: int, ranks: int, draw: random.Random) -> None:
    """Start a long run and kill ranks of it, some seconds apart."""
    with tempfile.TemporaryDirectory() as folder:
        often = f"{setting.every}rounds" if setting.recovery == "checkpoint" else "1h"
        words = [
            *(sys.executable, "-m", "mpiopt", "launch", "-n", str(ranks), "--", "train", DATA),
            *("--algorithm", PLAIN, "--tol", "1e-300", "--max-epochs", "1e9", "--recovery", setting.name),
            *("--checkpoint-every", often, "--out", str(Path(folder) / "run.h5")),
        ]
        log = Path(folder) / "log"
        with log.open("w") as out:
            process = subprocess.Popen(words, stdout=out, stderr=out, env=os.environ | {"MPIOPT_WATCHDOG": "60"})
        try:
            while "] " not in log.read_text() and process.poll() is None:
                time.sleep(0.05)
            for kill in range(kills):
                time.sleep(draw.uniform(2.0, 3.0))
                there = ranks_of(process.pid)
                if not there:
                    raise RuntimeError(f"the run has ended: {log.read_text()[-500:]}")
                os.kill(draw.choice(there), signal.SIGKILL)
                await_recoveries(log, kill + 1, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        for _, rounds, epochs, seconds in BACK.findall(log.read_text()):
            setting.rounds.append(float(rounds))
            setting.epochs.append(float(epochs))
            setting.seconds.append(float(seconds))


def await_recoveries(log: Path, count: int, process: subprocess.Popen[bytes], patience: float = 30.0) -> None:
    """Wait until the log reports so many recoveries."""
    until = time.monotonic() + patience
    while len(BACK.findall(log.read_text())) < count:
        if time.monotonic() > until or process.poll() is not None:
            raise RuntimeError(f"no recovery: {log.read_text()[-500:]}")
        time.sleep(0.05)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.lost", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="of each setting")
    parser.add_argument("--kills", type=int, default=2, help="in a run")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    print("| recovery | saves | losses | rounds lost: formula | mean ± error (most) | epochs | on after s (most) |")
    print("|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        for _ in range(options.runs):
            run(setting, options.kills, options.ranks, draw)
        print(setting.line(), flush=True)


if __name__ == "__main__":
    main()
