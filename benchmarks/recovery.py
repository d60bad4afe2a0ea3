"""Cost of each recovery while no rank dies: `train` under ULFM with each recovery in turn, beside `none`.

python -m benchmarks.recovery [--ranks 2] [--rows 200000] [--columns 50] [--epochs 60] [--repeats 5]

Ratios compare the loop's seconds of two successive runs; shown are medians of the repeats. The cost of checkpoints is
the time of one, measured in runs that save often, divided by the default interval of ten minutes.
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
OFTEN = 10  # rounds between two checkpoints in runs that measure their cost
GOALS = {"chain": 0.03, "stateless": 0.03, "checkpoint": 0.02}


def seconds(folder: Path, options: argparse.Namespace, recovery: str, every: str) -> tuple[float, int]:
    """Return the seconds and the rounds of the loop of a run."""
    mpirun, out = find(os.environ, "on"), folder / "run.h5"
    data = f"generate:n={options.rows},d={options.columns},condition=1e3,task=binary"
    words = (
        *("train", data, "--algorithm", "saga", "--tol", "1e-300", "--max-epochs", str(options.epochs), "--quiet"),
        *("--recovery", recovery, "--checkpoint-every", every, "--out", str(out)),
    )
    command = mpirun.command(options.ranks, (), words)
    done = subprocess.run(
        command, env=mpirun.environment(os.environ, ()), capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise RuntimeError(f"train ended with {done.returncode}: {done.stderr[-500:]}")
    history = read_result(out).history
    return float(history["seconds"][-1]), int(history["round"][-1])


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return the overhead of each recovery relative to the time without it."""
    more: dict[str, list[float]] = {name: [] for name in GOALS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(options.repeats):
            for recovery in more:
                bare, rounds = seconds(folder, options, "none", "24h")
                often = f"{OFTEN}rounds" if recovery == "checkpoint" else "24h"
                cost = seconds(folder, options, recovery, often)[0] - bare
                saves = max(1, rounds // OFTEN)
                more[recovery].append(cost / saves / INTERVAL if recovery == "checkpoint" else cost / bare)
                print(f"  {recovery}: {bare:.3f} s without, {bare + cost:.3f} s with", flush=True)
    return {recovery: statistics.median(found) for recovery, found in more.items()}


def of_recovery(part: float, repeats: int) -> list[Target]:
    """Return the lines of `make bench`."""
    options = parser().parse_args([])
    options.rows, options.repeats = max(5000, int(part * options.rows)), repeats
    return lines(measure(options), options)


def lines(found: dict[str, float], options: argparse.Namespace) -> list[Target]:
    """Return goal and figure of each recovery."""
    where = f"{options.rows:,} × {options.columns} on {options.ranks} ranks"
    return [
        Target(
            f"--recovery {name} while no rank dies, {where}: additional time",
            f"<= {goal:.0%}",
            f"{found[name]:+.2%}",
            goal / max(found[name], 1e-6),
        )
        for name, goal in GOALS.items()
    ]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    flags = argparse.ArgumentParser(prog="benchmarks.recovery", description=(__doc__ or "").splitlines()[0])
    for name, default in (("ranks", 2), ("rows", 200_000), ("columns", 50), ("epochs", 60), ("repeats", 5)):
        flags.add_argument(f"--{name}", type=int, default=default)
    return flags


def main() -> int:
    """Measure and print."""
    options = parser().parse_args()
    for line in lines(measure(options), options):
        print(" | ".join((line.what, line.goal, line.figure)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
