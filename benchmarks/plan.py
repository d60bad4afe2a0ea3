"""`python -m benchmarks.plan`: what `mpiopt plan` predicts, beside what `mpiopt train` then takes, on this machine.

Each case is planned with the link measured, on as many ranks as it is then trained on; for more ranks than cores the
plan is told the cores; who of them computes and who waits is then up to the system, and their sum is judged. Ratios
are predicted / measured; those of phases below a twentieth of an epoch, or below 2 ms, are shown and not judged. As
root, the same across two hosts on a link of 100 Mbit/s.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ranks import LAUNCH, launcher

WITHIN, SMALL, TINY = 0.2, 0.05, 2e-3
NAMES = ("compute", "exchange", "epoch", "sent", "seconds", "epochs", "peak")


@dataclass(frozen=True)
class Case:
    """A job."""

    name: str
    data: str
    flags: tuple[str, ...]


def cases(part: float) -> list[Case]:
    """Give the jobs: the metric, sparse rows without one, L-BFGS."""
    n = round(part * 240_000)  # all of them fit into the sample that a plan reads
    dense, sparse = f"generate:n={n},d=64,task=binary", f"generate:n={n // 3},d=20000,density=0.002,task=binary"
    return [
        Case("saga, dense", dense, ("--algorithm", "saga", "--tol", "1e-10")),
        Case("saga, sparse", sparse, ("--algorithm", "saga", "--l2", "1e-4", "--tol", "1e-8")),
        Case("lbfgs, dense", dense, ("--algorithm", "lbfgs", "--tol", "1e-10")),
    ]


class Launch:
    """How ranks are started: on this machine, or across two hosts on a slow link."""

    def __init__(self, ranks: int, rate: float = 0.0) -> None:
        self.ranks, self.rate = ranks, rate

    def run(self, *words: str) -> str:
        """Run a Python program on all ranks and give what it prints."""
        line = [sys.executable, "-m", "mpi4py", *words]
        if self.rate:
            from tools import slow_link

            command = slow_link.command(slow_link.Link(2, self.rate), self.ranks, line)
        else:
            command = [str(launcher()), "--oversubscribe", "--bind-to", "none", "-n", str(self.ranks), *line]
        done = subprocess.run(
            command, env=os.environ | LAUNCH, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL
        )
        if done.returncode not in (0, 3):
            raise RuntimeError(f"{' '.join(words)}: code {done.returncode}: {done.stderr[-300:]}")
        return done.stdout


def predicted(case: Case, launch: Launch) -> dict[str, float]:
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


def measured(case: Case, launch: Launch, started: float) -> dict[str, float]:
    """Train; give the figures of an epoch after the start, which took `started` of them, and of the whole."""
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


def compare(case: Case, launch: Launch) -> tuple[str, int, int]:
    """Give a line of the table, how many phases were judged, and how many of them were right."""
    plan = predicted(case, launch)
    run = measured(case, launch, plan["started"])
    for found in (plan, run):
        found["epoch"] = found["compute"] + found["exchange"]
    plan["seconds"] = plan["fixed"] + max(0.0, run["epochs"] - plan["started"]) * plan["epoch"]
    cells, judged, right = [], 0, 0
    for name in NAMES:
        ratio = plan[name] / run[name] if run[name] > 0 else float("nan")
        phase = name in ("compute", "exchange")
        told = not phase or (run[name] >= max(SMALL * run["epoch"], TINY) and launch.ranks <= (os.cpu_count() or 1))
        told &= name != "epochs" and run[name] > 0
        judged, right = judged + told, right + (told and abs(ratio - 1.0) <= WITHIN)
        scale, unit = {"sent": (1e-3, "kB"), "peak": (1e-6, "MB"), "epochs": (1.0, "")}.get(name, (1e3, "ms"))
        cells.append(
            f"{scale * plan[name]:.3g} / {scale * run[name]:.3g} {unit}{f' **{ratio:.2f}**' if told else ''}"
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
    asked = parser.parse_args()
    if asked.inside:
        inside(json.loads(asked.inside))
        return
    launches = [Launch(int(ranks)) for ranks in asked.ranks.split(",")]
    if asked.rate:
        from tools import slow_link

        reason = slow_link.obstacle()
        launches += [] if reason else [Launch(2, asked.rate)]
        print(f"no slow link: {reason}\n" if reason else "", end="")
    print("predicted / measured; of an epoch: compute, communicate + wait, bytes a rank sends; of a run: the rest")
    print(f"\n| case | ranks | link | {' | '.join(NAMES)} |\n|{'---|' * (len(NAMES) + 3)}")
    totals = [0, 0]
    for case in (c for c in cases(asked.part) if asked.only in c.name):
        for launch in launches:
            line, judged, right = compare(case, launch)
            totals = [totals[0] + judged, totals[1] + right]
            print(line, flush=True)
    print(f"\n{totals[1]} of {totals[0]} judged figures are within {100 * WITHIN:.0f} %")


if __name__ == "__main__":
    main()
