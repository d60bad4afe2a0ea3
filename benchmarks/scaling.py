"""`python -m benchmarks.scaling --write docs/benchmarks`: strong and weak scaling to 4096 ranks, with origins.

* Measured: `mpiopt train` on 1 and 2 ranks of this machine.
* Simulated: all ranks of the real algorithm in one process (`mpiopt plan --simulate`). Work is measured, exchanges
  follow the link.
* Modelled: `mpiopt plan`.

The link of the last two is 100 Gbit/s and 2 us, with one rank on a node.

A simulation waits in each exchange for the slowest rank. The work of the ranks was measured in turns on one machine,
with caches that the other ranks had just used, and what a run loads first is not counted. A model assumes equal
ranks, and counts what a run loads first. If rounds are as short as a millisecond, the two differ by several times; do
not rely on either.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.launching import mpirun

LINK = "100Gbit/s,2us"
COLUMNS = 64
FLAGS = ("--algorithm", "saga", "--tol", "1e-8")
MEASURED, SIMULATED = (1, 2), (1, 2, 4, 16, 64, 256)
MODELLED = (1, 2, 4, 16, 64, 256, 1024, 4096)


@dataclass(frozen=True)
class ScalingRun:
    """A run on so many ranks."""

    origin: str  # measured, simulated, modelled
    ranks: int
    rows: int  # of all ranks
    epochs: float
    rounds: float
    sent: float  # bytes a rank
    seconds: float


def recipe(rows: int) -> str:
    """Return the rows."""
    return f"generate:n={rows},d={COLUMNS},task=binary"


def measured(rows: int, ranks: int) -> ScalingRun:
    """Train under mpirun."""
    from mpiopt.results.result_file import read_result

    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run.h5")
        printed = mpirun(ranks, "-m", "mpiopt", "train", recipe(rows), *FLAGS, "--out", out)
        last = read_result(out).history[-1]
    seconds = float(re.findall(r"^seconds\s+(\S+)", printed, re.MULTILINE)[0])
    sent = float(last["bytes_sent"]) / ranks
    return ScalingRun("measured", ranks, rows, float(last["epoch"]), int(last["round"]), sent, seconds)


def simulated(rows: int, ranks: int) -> ScalingRun:
    """Run all ranks in this process."""
    from mpiopt.cluster.planning import link
    from mpiopt.cluster.planning.plan_args import read as read_request
    from mpiopt.cluster.planning.simulated import simulate_job

    found = simulate_job(read_request([recipe(rows), *FLAGS, "--simulate", "1"]).job, ranks, link.read(LINK, 1))
    return ScalingRun("simulated", ranks, rows, found.epochs, found.rounds, found.sent / ranks, found.seconds)


def modelled(rows: int, ranks: int) -> ScalingRun:
    """Return the figures of a plan."""
    from mpiopt.cluster.planning.plan_args import read as read_request
    from mpiopt.cluster.planning.planner import Planner
    from mpiopt.comm.threads import single

    request = read_request([recipe(rows), *FLAGS, "--link", LINK, "--ranks", str(ranks)])
    o = Planner.of(request, single(), first_calls()).predict(ranks)
    return ScalingRun("modelled", ranks, rows, o.epochs, o.rounds, o.sent_all / ranks, o.seconds)


@cache
def first_calls() -> float:
    """Measure in a new process how long a run takes to load what it calls."""
    line = [sys.executable, "-m", "benchmarks.scaling", "--first-calls"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure_first_calls() -> float:
    """Measure the first calls in this process, in which nothing has been called yet."""
    from mpiopt.cluster.planning.command import program_of
    from mpiopt.cluster.planning.plan_args import read as read_request
    from mpiopt.comm.threads import single

    return program_of(read_request([recipe(1000), *FLAGS, "--ranks", "1"]), single()).first_calls


def figures(rows_of: Callable[[int], int]) -> list[ScalingRun]:
    """Return all figures; `rows_of` is the number of rows for a number of ranks."""
    ways = ((measured, MEASURED), (simulated, SIMULATED), (modelled, MODELLED))
    return [way(rows_of(ranks), ranks) for way, counts in ways for ranks in counts]


def table(title: str, found: list[ScalingRun]) -> list[str]:
    """Return a table in Markdown."""
    lines = [f"## {title}", "", "| ranks | rows of a rank | | epochs | rounds | kB a rank | seconds |"]
    lines.append("|---|---|---|---|---|---|---|")
    for f in sorted(found, key=lambda f: (f.ranks, ("measured", "simulated", "modelled").index(f.origin))):
        numbers = f"{f.epochs:.3g} | {f.rounds:.0f} | {f.sent / 1e3:.3g} | {f.seconds:.3g}"
        lines.append(f"| {f.ranks} | {-(-f.rows // f.ranks)} | {f.origin} | {numbers} |")
    return [*lines, ""]


def draw(strong: list[ScalingRun], weak: list[ScalingRun], path: Path) -> None:
    """Draw seconds over ranks."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    styles = {"measured": "ks", "simulated": "C0o", "modelled": "C1-"}
    for axes, found, title in zip(panels, (strong, weak), ("strong", "weak"), strict=True):
        for origin, style in styles.items():
            chosen = [f for f in found if f.origin == origin]
            axes.loglog([f.ranks for f in chosen], [f.seconds for f in chosen], style, label=origin, markersize=5)
        axes.set(title=f"{title} scaling", xlabel="ranks", ylabel="seconds to the tolerance")
        axes.grid(alpha=0.3)
    begin = next(f for f in strong if f.origin == "modelled")
    panels[0].loglog(MODELLED, [begin.seconds / r for r in MODELLED], "k:", linewidth=0.8, label="ideal")
    panels[0].legend(fontsize="small")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """Measure, simulate and model; print, and write the page if a folder is given."""
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--strong", type=int, default=1 << 20, help="rows in all")
    parser.add_argument("--weak", type=int, default=1 << 12, help="rows of a rank")
    parser.add_argument("--write", default="", help="folder for scaling.md and scaling.png")
    parser.add_argument("--first-calls", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first_calls:
        print(measure_first_calls())
        return
    strong, weak = figures(lambda ranks: options.strong), figures(lambda ranks: options.weak * ranks)
    head = [
        "# Scaling",
        "",
        *(__doc__ or "").replace("--write docs/benchmarks`", "--write docs/benchmarks` wrote this").splitlines(),
        "",
        f"Synthetic dense rows of {COLUMNS} columns, logistic loss, `{' '.join(FLAGS)}`, to the certified tolerance.",
        "",
        "![Seconds over ranks](scaling.png)",
        "",
    ]
    text = [*head, *table(f"Strong: {options.strong} rows in all", strong)]
    text += table(f"Weak: {options.weak} rows on each rank", weak)
    print("\n".join(text))
    if options.write:
        Path(options.write, "scaling.md").write_text("\n".join(text).rstrip() + "\n")
        draw(strong, weak, Path(options.write, "scaling.png"))


if __name__ == "__main__":
    main()
