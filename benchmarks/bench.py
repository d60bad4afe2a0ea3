"""The first half of `make bench`: all goals in one run and one table; `benchmarks.peers` is the other half.

python -m benchmarks.bench [--quick] [--only NAME,…] [--repeats N] [--out FILE.md]

NAME is one of kernels, compressors, ranks, overlap, slow-ranks, step-sizes, recovery, program. Times are processor
seconds of one thread, the least of N.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path

import benchmarks
from benchmarks import recovery, targets
from benchmarks.targets import Target

PARTS = ("kernels", "compressors", "ranks", "overlap", "slow-ranks", "step-sizes", "recovery", "program")


def main() -> None:
    """Measure the chosen parts; the table is written after each one, in case the run is interrupted."""
    options = arguments()
    part = 0.02 if options.quick else 1.0
    names = options.only.split(",") if options.only else PARTS
    report = BenchReport(Path(options.out), options.quick)
    for name in names:
        print(f"\n{name}", flush=True)
        report.add(other(name, part, options.repeats))
    print(f"\n{report.text()}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to try whether everything works")
    parser.add_argument("--only", default="", help="parts, with commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", default="runs/benchmarks.md", help="tables and, beside them, a .json")
    return parser.parse_args()


def other(name: str, part: float, repeats: int) -> list[Target]:
    """Measure a part; an error becomes a line of the table."""
    try:
        return measured(name, part, repeats)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return [Target(f"{name}: {' '.join(str(error).split())[-200:]}", "", "failed", 0.0)]


def measured(name: str, part: float, repeats: int) -> list[Target]:
    """Measure one part."""
    if name == "kernels":
        return targets.of_kernels(2 * repeats)
    if name == "compressors":
        return targets.of_compressors((10_000, 1_000_000), 2 * repeats)
    if name == "ranks":
        return targets.of_ranks(part, ("syn_c10", "syn_c1e4", "cov_like"), repeats)
    if name == "slow-ranks":
        return targets.of_slow_ranks()
    if name == "step-sizes":
        return targets.of_step_sizes(part)
    if name == "recovery":
        return recovery.of_recovery(part, repeats)
    return targets.of_overlap(part) if name == "overlap" else targets.of_program(part)


class BenchReport:
    """The tables, in Markdown and JSON."""

    def __init__(self, path: Path, quick: bool) -> None:
        self.path, self.quick, self.load = path, quick, os.getloadavg()[0]
        self.targets: list[Target] = []

    def add(self, found: list[Target]) -> None:
        """Add lines, print them and write the files."""
        self.targets += found
        self.load = max(self.load, os.getloadavg()[0])
        for target in found:
            print("  " + " | ".join((target.what, target.goal, target.figure, verdict(target))), flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text())
        content = {"targets": [t._asdict() for t in self.targets]}
        self.path.with_suffix(".json").write_text(json.dumps(content, indent=1))

    def text(self) -> str:
        """Return the tables as Markdown."""
        return "\n".join([*self.head(), *self.goals(), ""])

    def head(self) -> list[str]:
        """Return the lines that say how it was measured."""
        removed = f"; {', '.join(benchmarks.REMOVED)} removed from the environment" if benchmarks.REMOVED else ""
        return [
            "# make bench" + (" --quick: sizes too small for conclusions" if self.quick else ""),
            "",
            f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, load up to {self.load:.1f}; "
            f"BLAS and compiled loops in one thread{removed}.",
        ]

    def goals(self) -> list[str]:
        """Return goal, figure and ratio of every line."""
        reached = sum(t.ratio >= 1 for t in self.targets)
        lines = [f"| {t.what} | {t.goal} | {t.figure} | {verdict(t)} |" for t in self.targets]
        head = ["", f"## Goals: {reached} of {sum(t.ratio == t.ratio for t in self.targets)} reached", ""]
        return [*head, "| | goal | figure | figure against goal |", "|---|---|---|---|", *lines]


def verdict(target: Target) -> str:
    """Return the ratio, marked if the goal is missed; open if the peer did not reach the level within the limit."""
    if target.ratio != target.ratio:
        return "–"
    if target.ratio < 1 and target.figure.startswith(">"):
        return f"> {target.ratio:.2f}, open"
    return f"{target.ratio:.2f}" + ("" if target.ratio >= 1 else " MISSED")


if __name__ == "__main__":
    main()
