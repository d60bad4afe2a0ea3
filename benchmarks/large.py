"""`python -m benchmarks.large --gb 20`: generate, convert, train for an epoch, checkpoint and resume.

The peak resident memory of a rank is read from the system while a phase runs and compared with the prediction of
`mpiopt plan` (target: at most 1.15 times). The folder needs twice the size on disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.launching import ENVIRONMENT, mpirun_line, output_of

TARGET = 1.15  # peak / planned peak
PROGRAM = b"mpiopt"  # in the command lines of the ranks


@dataclass
class Phase:
    """The cost of one command."""

    name: str
    seconds: float
    nbytes: float  # of the rows
    peak: float  # bytes, largest over the ranks
    planned: float = 0.0  # bytes


def descendants(pid: int) -> Iterator[int]:
    """Yield all descendants of a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)


def peak_below(pid: int) -> float:
    """Return the largest peak of a rank below mpirun, in bytes."""
    peaks = [0.0]
    for child in descendants(pid):
        try:
            if PROGRAM in Path(f"/proc/{child}/cmdline").read_bytes():
                status = Path(f"/proc/{child}/status").read_text()
                peaks.append(1024.0 * int(status.split("VmHWM:")[1].split()[0]))
        except (OSError, IndexError):
            continue
    return max(peaks)


def run(name: str, ranks: int, nbytes: float, *words: str, codes: tuple[int, ...] = (0,)) -> tuple[Phase, str]:
    """Run mpiopt on some ranks and watch its memory."""
    line = mpirun_line(ranks, "-m", "mpiopt", *words)
    begin, peaks, over = time.perf_counter(), [0.0], threading.Event()
    with subprocess.Popen(
        line, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:

        def watch() -> None:
            while not over.wait(0.1):
                peaks.append(peak_below(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        printed = process.communicate()[0].decode()
        over.set()
        watcher.join()
    if process.returncode not in codes:
        raise RuntimeError(f"{name}: code {process.returncode}: {printed[-500:]}")
    return Phase(name, time.perf_counter() - begin, nbytes, max(peaks)), printed


def planned(ranks: int, *words: str) -> float:
    """Return the peak of a rank in bytes that `mpiopt plan` predicts, in a new process."""
    line = [sys.executable, "-m", "benchmarks.large", "--inside", *words, "--ranks", str(ranks)]
    return float(output_of(line).split()[-1])


def inside(words: Sequence[str]) -> None:
    """Plan in this process, with the libraries of a run loaded, and print the peak."""
    from mpi4py import MPI  # noqa: F401

    from mpiopt.cluster.planning import space
    from mpiopt.cluster.planning.command import program_of
    from mpiopt.cluster.planning.plan_args import read as read_request
    from mpiopt.cluster.planning.planner import Planner
    from mpiopt.comm.threads import single

    request = read_request(words)
    program, ranks = program_of(request, single()).nbytes, request.ranks
    planner = Planner.of(request, single())
    print(space.of_rank(planner.rows, request.job.data, planner.memory_needs(ranks), program, ranks).peak)


def phases(folder: Path, gigabytes: float, d: int, ranks: int) -> Iterator[Phase]:
    """Run all commands one after the other and yield their costs."""
    nbytes = 1e9 * gigabytes
    n = round(nbytes / (4 * d))
    made, data, out = (str(folder / name) for name in ("made.h5", "rows.h5", "run.h5"))
    yield run(
        "generate", ranks, nbytes, "generate", made, "--n", str(n), "--d", str(d), "--task", "binary", "--float32"
    )[0]
    yield run("convert", ranks, nbytes, "convert", made, data, "--float32")[0]
    os.remove(made)
    words = [data, "--float32", "--algorithm", "saga", "--tol", "1e-14", "--l2", "1e-6"]
    expected = planned(ranks, *words)
    words += ["--out", out]
    train, printed = run("train, checkpoint", ranks, nbytes, "train", *words, "--max-epochs", "1", codes=(3,))
    again, resumed = run(
        "resume, train", ranks, nbytes, "train", *words, "--max-epochs", "8", "--resume", "auto", codes=(3,)
    )
    train.planned = again.planned = expected
    yield train
    yield again
    print(f"\nfirst run:\n{printed}\nresumed run:\n{resumed}", file=sys.stderr)


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="benchmarks.large", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gb", type=float, default=1.0, help="of rows in float32")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--folder", default=None, help="default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        free = shutil.disk_usage(name).free
        if free < 2.2e9 * options.gb:
            raise SystemExit(f"large: {name} has {free / 1e9:.1f} GB free; {2.2 * options.gb:.1f} are needed")
        print(f"{options.gb:g} GB of rows of {options.d} float32 columns, {options.ranks} ranks\n")
        print("| phase | seconds | MB/s | peak of a rank, MB | planned | ratio |\n|---|---|---|---|---|---|")
        for phase in phases(Path(name), options.gb, options.d, options.ranks):
            ratio = phase.peak / phase.planned if phase.planned else 0.0
            planned_text = (
                f"{phase.planned / 1e6:.0f} | {ratio:.2f}{' MISSED' if ratio > TARGET else ''}"
                if ratio
                else "bounded | "
            )
            rate = 1e-6 * phase.nbytes / phase.seconds
            print(
                f"| {phase.name} | {phase.seconds:.1f} | {rate:.0f} | {1e-6 * phase.peak:.0f} | {planned_text} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
