"""`make bench`: all goals, side by side with other libraries, in one run and one table.

python -m benchmarks.bench [--quick] [--only NAME,…] [--peers NAME,…] [--limit SECONDS] [--repeats N] [--out FILE.md]

NAME is a data set, or kernels, compressors, ranks, overlap, slow-ranks, step-sizes, recovery, program. Times are
processor seconds of one thread, the least of N. Judge by the ratios, since ours are timed again after each peer.
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
from benchmarks import data, ours, peers, race, recovery, targets
from benchmarks.race import LEVELS, Times
from benchmarks.targets import Target

PARTS = ("kernels", "compressors", "ranks", "overlap", "slow-ranks", "step-sizes", "recovery", "program")


def main() -> None:
    """Measure the chosen parts; the table is written after each one, in case the run is interrupted."""
    options = arguments()
    part = 0.02 if options.quick else 1.0
    names = options.only.split(",") if options.only else [*data.recipes(part), *PARTS]
    report = BenchReport(Path(options.out), options.quick)
    for name in names:
        print(f"\n{name}", flush=True)
        if name in PARTS:
            report.add(name, other(name, part, options.repeats))
        else:
            one_set(name, part, options, report)
    print(f"\n{report.text()}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to try whether everything works")
    parser.add_argument("--only", default="", help="data sets and parts, with commas")
    parser.add_argument("--peers", default="", help="beginnings of names of peers, with commas")
    parser.add_argument("--limit", type=float, default=20.0, help="processor seconds for all settings of a solver")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", default="runs/benchmarks.md", help="tables and, beside them, a .json")
    return parser.parse_args()


def other(name: str, part: float, repeats: int) -> list[Target]:
    """Measure a part without peers; an error becomes a line of the table."""
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


def one_set(name: str, part: float, options: argparse.Namespace, report: BenchReport) -> None:
    """Time all solvers on one data set."""
    problem = data.load(name, part)
    if problem is None:
        print("  no such file, left out; set MPIOPT_DATA to the folder of the real sets")
        return
    others, missing = peers.peers(problem)
    others = [solver for solver in others if solver.name.startswith(tuple(options.peers.split(",")))]
    report.missing.update(missing)
    results = race.race(problem, ours.ours(), others, ours.optimum(problem), options.limit, options.repeats)
    report.races[f"{name} {problem.x.shape[0]:,} × {problem.x.shape[1]:,}"] = results
    report.add(name, targets.against(problem, results))


class BenchReport:
    """The tables, in Markdown and JSON."""

    def __init__(self, path: Path, quick: bool) -> None:
        self.path, self.quick, self.load = path, quick, os.getloadavg()[0]
        self.races: dict[str, list[Times]] = {}
        self.targets: list[Target] = []
        self.missing: set[str] = set()

    def add(self, name: str, found: list[Target]) -> None:
        """Add lines, print them and write the files."""
        self.targets += found
        self.load = max(self.load, os.getloadavg()[0])
        for target in found:
            print("  " + " | ".join((target.what, target.goal, target.figure, verdict(target))), flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text())
        content = {
            "targets": [t._asdict() for t in self.targets],
            "races": {k: [vars(t) for t in v] for k, v in self.races.items()},
        }
        self.path.with_suffix(".json").write_text(json.dumps(content, indent=1, default=str))

    def text(self) -> str:
        """Return the tables as Markdown."""
        return "\n".join([*self.head(), *self.goals(), *self.seconds(), ""])

    def head(self) -> list[str]:
        """Return the lines that say how it was measured."""
        removed = f"; {', '.join(benchmarks.REMOVED)} removed from the environment" if benchmarks.REMOVED else ""
        return [
            "# make bench" + (" --quick: sizes too small for conclusions" if self.quick else ""),
            "",
            f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, load up to {self.load:.1f}; "
            f"BLAS and compiled loops in one thread{removed}. Logistic, λ = 1/N, no intercept, default options. "
            "Suboptimality is (F − F*)/(F(0) − F*); in brackets the tolerance, or the iterations, that reached it.",
            *(f"{line}." for line in sorted(self.missing)),
        ]

    def goals(self) -> list[str]:
        """Return goal, figure and ratio of every line."""
        reached = sum(t.ratio >= 1 for t in self.targets)
        lines = [f"| {t.what} | {t.goal} | {t.figure} | {verdict(t)} |" for t in self.targets]
        head = ["", f"## Goals: {reached} of {sum(t.ratio == t.ratio for t in self.targets)} reached", ""]
        return [*head, "| | goal | figure | figure against goal |", "|---|---|---|---|", *lines]

    def seconds(self) -> list[str]:
        """Return the processor seconds of the races."""
        lines = ["", "## Processor seconds to a suboptimality of " + " / ".join(f"{level:g}" for level in LEVELS)]
        for title, results in self.races.items():
            lines += [
                "",
                f"| {title} | {' | '.join(f'{level:g}' for level in LEVELS)} | last | |",
                "|---|---|---|---|---|---|",
            ]
            for t in results:
                cells = [f"{t.seconds[k]:.3f} ({t.setting[k]:g})" if k in t.seconds else "–" for k in LEVELS]
                lines.append(f"| {t.name} | {' | '.join(cells)} | {t.last:.0e} | {t.note} |")
        return lines


def verdict(target: Target) -> str:
    """Return the ratio, marked if the goal is missed; open if the peer did not reach the level within the limit."""
    if target.ratio != target.ratio:
        return "–"
    if target.ratio < 1 and target.figure.startswith(">"):
        return f"> {target.ratio:.2f}, open"
    return f"{target.ratio:.2f}" + ("" if target.ratio >= 1 else " MISSED")


if __name__ == "__main__":
    main()
