"""What protection costs while nobody dies: `train` under ULFM with each recovery in turn, beside `none`.

python -m benchmarks.recovery [--ranks 2] [--rows 200000] [--columns 50] [--epochs 60] [--repeats 5]

Ratios are of the seconds of the loop in runs that follow one another; the median of the repeats. A checkpoint's cost
at the default interval is the time of one, taken from runs that save often, over ten minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.targets import Target
from mpiopt.cluster.mpirun import find
from mpiopt.results.result_file import read_result

INTERVAL = 600.0  # seconds, the default of --checkpoint-every
OFTEN = 10  # rounds between two checkpoints where their cost is measured
GOALS = {"chain": 0.03, "stateless": 0.03, "checkpoint": 0.02}


def seconds(folder: Path, asked: argparse.Namespace, recovery: str, every: str) -> tuple[float, int]:
    """Give the seconds of the loop, and its rounds, of a run of so many epochs."""
    mpirun, out = find(os.environ, "on"), folder / "run.h5"
    data = f"generate:n={asked.rows},d={asked.columns},condition=1e3,task=binary"
    words = (
        *("train", data, "--algorithm", "saga", "--tol", "1e-300", "--max-epochs", str(asked.epochs), "--quiet"),
        *("--recovery", recovery, "--checkpoint-every", every, "--out", str(out)),
    )
    command = mpirun.command(asked.ranks, (), words)
    done = subprocess.run(
        command, env=mpirun.environment(os.environ, ()), capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise RuntimeError(f"train ended with {done.returncode}: {done.stderr[-500:]}")
    history = read_result(out).history
    return float(history["seconds"][-1]), int(history["round"][-1])


def measure(asked: argparse.Namespace) -> dict[str, float]:
    """Give the overhead of each recovery as a part of the time without."""
    more: dict[str, list[float]] = {name: [] for name in GOALS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(asked.repeats):
            for recovery in more:
                bare, rounds = seconds(folder, asked, "none", "24h")
                often = f"{OFTEN}rounds" if recovery == "checkpoint" else "24h"
                cost = seconds(folder, asked, recovery, often)[0] - bare
                saves = max(1, rounds // OFTEN)
                more[recovery].append(cost / saves / INTERVAL if recovery == "checkpoint" else cost / bare)
                print(f"  {recovery}: {bare:.3f} s without, {bare + cost:.3f} s with", flush=True)
    return {recovery: statistics.median(found) for recovery, found in more.items()}


def of_recovery(part: float, repeats: int) -> list[Target]:
    """Give the lines of `make bench`."""
    asked = parser().parse_args([])
    asked.rows, asked.repeats = max(5000, int(part * asked.rows)), repeats
    return lines(measure(asked), asked)


def lines(found: dict[str, float], asked: argparse.Namespace) -> list[Target]:
    """Give goal and figure of each recovery."""
    where = f"{asked.rows:,} × {asked.columns} on {asked.ranks} ranks"
    return [
        Target(
            f"--recovery {name} while nobody dies, {where}: more time than none",
            f"<= {goal:.0%}",
            f"{found[name]:+.2%}",
            goal / max(found[name], 1e-6),
        )
        for name, goal in GOALS.items()
    ]


def parser() -> argparse.ArgumentParser:
    """Give the command line."""
    flags = argparse.ArgumentParser(prog="benchmarks.recovery", description=(__doc__ or "").splitlines()[0])
    for name, default in (("ranks", 2), ("rows", 200_000), ("columns", 50), ("epochs", 60), ("repeats", 5)):
        flags.add_argument(f"--{name}", type=int, default=default)
    return flags


def main() -> int:
    """Measure and print."""
    asked = parser().parse_args()
    for line in lines(measure(asked), asked):
        print(" | ".join((line.what, line.goal, line.figure)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
