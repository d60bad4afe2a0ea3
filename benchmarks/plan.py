"""`python -m benchmarks.plan`: predictions of `mpiopt plan` beside measurements of `mpiopt train`, on this machine.

Each job is planned with a measured link, on as many ranks as it is then trained on. With more ranks than cores, the
plan gets the number of cores; the system then decides which rank computes and which waits, so only their sum is
judged. Ratios are predicted / measured. Phases below a twentieth of an epoch, or below 2 ms, are shown but not
judged. As root, the same is done across two hosts on a link of 100 Mbit/s.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.launching import mpirun_line, output_of

WITHIN = 0.2  # relative error of a right prediction
SMALL, TINY = 0.05, 2e-3  # share of an epoch, and seconds, below which a phase is not judged
NAMES = ("compute", "exchange", "epoch", "sent", "seconds", "epochs", "peak")


@dataclass(frozen=True)
class PlannedJob:
    """A job that is planned and then trained."""

    name: str
    data: str
    flags: tuple[str, ...]


def cases(part: float) -> list[PlannedJob]:
    """Return the jobs: SAGA on dense rows (with a preconditioner) and on sparse rows, and L-BFGS."""
    n = round(part * 240_000)  # no more than the sample of rows that a plan reads
    dense, sparse = f"generate:n={n},d=64,task=binary", f"generate:n={n // 3},d=20000,density=0.002,task=binary"
    return [
        PlannedJob("saga, dense", dense, ("--algorithm", "saga", "--tol", "1e-10")),
        PlannedJob("saga, sparse", sparse, ("--algorithm", "saga", "--l2", "1e-4", "--tol", "1e-8")),
        PlannedJob("lbfgs, dense", dense, ("--algorithm", "lbfgs", "--tol", "1e-10")),
    ]


class Placement:
    """Where ranks run: on this machine, or across two hosts on a slow link."""

    def __init__(self, ranks: int, rate: float = 0.0) -> None:
        self.ranks, self.rate = ranks, rate

    def run(self, *words: str) -> str:
        """Run a Python program on all ranks and return what it prints."""
        line = mpirun_line(self.ranks, *words)
        if self.rate:
            from tools import slow_link

            program = [sys.executable, "-m", "mpi4py", *words]
            line = slow_link.command(slow_link.Link(2, self.rate), self.ranks, program)
        return output_of(line, 200.0, (0, 3))


def predicted(case: PlannedJob, launch: Placement) -> dict[str, float]:
    """Plan on the ranks of a launch."""
    cores = os.cpu_count() or 1
    words = [case.data, *case.flags, "--ranks", str(launch.ranks)]
    words += ["--ranks-per-node", str(launch.ranks), "--cores", str(min(cores, launch.ranks))]
    words += ["--link", "measured"] if launch.ranks > 1 else []
    printed = launch.run("-m", "benchmarks.plan", "--inside", json.dumps(words))
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def inside(words: Sequence[str]) -> None:
    """Plan on the ranks of MPI's world; print the figures as JSON."""
    from mpi4py import MPI

    from mpiopt.cluster.planning import space
    from mpiopt.cluster.planning.command import program_of
    from mpiopt.cluster.planning.plan_args import read as read_request
    from mpiopt.cluster.planning.planner import Planner
    from mpiopt.comm.mpi.comm import MpiComm

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    request = read_request(words)
    program = program_of(request, comm)
    planner = Planner.of(request, comm, program.first_calls)
    ranks = planner.request.ranks
    o = planner.predict(ranks)
    peak = space.of_rank(
        planner.rows, planner.request.job.data, planner.memory_needs(ranks), program.nbytes, ranks
    ).peak
    started = planner.measure(ranks).start_epochs
    fixed = o.seconds - max(0.0, o.epochs - started) * o.epoch
    if comm.rank == 0:
        found = {"compute": o.compute, "exchange": o.communicate + o.wait, "sent": o.sent, "epochs": o.epochs}
        print(json.dumps(found | {"fixed": fixed, "started": started, "peak": peak}))


def measured(case: PlannedJob, launch: Placement, started: float) -> dict[str, float]:
    """Train and return the figures of the run and of an epoch after the start, which takes `started` epochs."""
    from mpiopt.results.result_file import read_result

    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "run.h5")
        printed = launch.run("-m", "mpiopt", "train", case.data, *case.flags, "--out", out)
        history = read_result(out).history
    first, last = history[0], history[-1]
    epochs = float(last["epoch"]) - started
    exchange = sum(float(last[f"seconds_{x}"] - first[f"seconds_{x}"]) for x in ("communicate", "wait"))
    found = re.findall(r"peak of the process\s+\S+ \S+\s+(\S+) (\S+)", printed)[0]
    return {
        "compute": float(last["seconds_compute"] - first["seconds_compute"]) / epochs,
        "exchange": exchange / epochs,
        "sent": float(last["bytes_sent"] - first["bytes_sent"]) / epochs / launch.ranks,
        "seconds": float(last["seconds"]),
        "epochs": float(last["epoch"]),
        "peak": float(found[0]) * {"MB": 1e6, "GB": 1e9, "kB": 1e3}[found[1]],
    }


def compare(case: PlannedJob, launch: Placement) -> tuple[str, int, int]:
    """Return a line of the table, the number of judged figures, and the number of right ones."""
    plan = predicted(case, launch)
    run = measured(case, launch, plan["started"])
    for found in (plan, run):
        found["epoch"] = found["compute"] + found["exchange"]
    plan["seconds"] = plan["fixed"] + max(0.0, run["epochs"] - plan["started"]) * plan["epoch"]
    cells, judged, right = [], 0, 0
    for name in NAMES:
        ratio = plan[name] / run[name] if run[name] > 0 else float("nan")
        phase = name in ("compute", "exchange")
        judge = not phase or (run[name] >= max(SMALL * run["epoch"], TINY) and launch.ranks <= (os.cpu_count() or 1))
        judge &= name != "epochs" and run[name] > 0
        judged, right = judged + judge, right + (judge and abs(ratio - 1.0) <= WITHIN)
        scale, unit = {"sent": (1e-3, "kB"), "peak": (1e-6, "MB"), "epochs": (1.0, "")}.get(name, (1e3, "ms"))
        cells.append(
            f"{scale * plan[name]:.3g} / {scale * run[name]:.3g} {unit}{f' **{ratio:.2f}**' if judge else ''}"
        )
    link = f"{launch.rate:g} Mbit/s" if launch.rate else "memory"
    return f"| {case.name} | {launch.ranks} | {link} | {' | '.join(cells)} |", judged, right


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.plan", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", type=float, default=1.0, help="of the rows of the cases")
    parser.add_argument("--ranks", default="1,2,4,8")
    parser.add_argument("--rate", type=float, default=100.0, help="Mbit/s of the slow link; 0: none")
    parser.add_argument("--only", default="", help="a part of a case's name")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(json.loads(options.inside))
        return
    launches = [Placement(int(ranks)) for ranks in options.ranks.split(",")]
    if options.rate:
        from tools import slow_link

        reason = slow_link.obstacle()
        launches += [] if reason else [Placement(2, options.rate)]
        print(f"no slow link: {reason}\n" if reason else "", end="")
    print("predicted / measured; of an epoch: compute, communicate + wait, bytes a rank sends; of a run: the rest")
    print(f"\n| case | ranks | link | {' | '.join(NAMES)} |\n|{'---|' * (len(NAMES) + 3)}")
    totals = [0, 0]
    for case in (c for c in cases(options.part) if options.only in c.name):
        for launch in launches:
            line, judged, right = compare(case, launch)
            totals = [totals[0] + judged, totals[1] + right]
            print(line, flush=True)
    print(f"\n{totals[1]} of {totals[0]} judged figures are within {100 * WITHIN:.0f} %")


if __name__ == "__main__":
    main()
