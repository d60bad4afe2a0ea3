"""`python -m benchmarks.large --gb 20`: rows made up, converted, trained on for an epoch, checkpointed and resumed.

The peak resident memory of a rank is read from the system while a phase runs, and compared with what `mpiopt plan`
says before anything is read (target: at most 1.15 times). The folder needs twice the size on disk.
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

from benchmarks.ranks import LAUNCH, launcher

TARGET = 1.15
PROGRAM = b"mpiopt"


@dataclass
class Phase:
    """What one command took."""

    name: str
    seconds: float
    nbytes: float  # that went through
    peak: float  # of the rank with the most
    planned: float = 0.0


def descendants(pid: int) -> Iterator[int]:
    """Give the processes below one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)


def peak_below(pid: int) -> float:
    """Give the largest peak of a rank below mpirun, in bytes."""
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
    line = [str(launcher()), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    line += [sys.executable, "-m", "mpi4py", "-m", "mpiopt", *words]
    begin, peaks, over = time.perf_counter(), [0.0], threading.Event()
    with subprocess.Popen(line, env=os.environ | LAUNCH, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:

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
    """Give the peak of a rank that `mpiopt plan` says, in bytes, measured by a process of its own."""
    line = [sys.executable, "-m", "benchmarks.large", "--inside", *words, "--ranks", str(ranks)]
    done = subprocess.run(line, env=os.environ | LAUNCH, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return float(done.stdout.split()[-1])


def inside(words: Sequence[str]) -> None:
    """Plan in a process of its own, with the libraries of a run; print the peak."""
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
    """Do everything, one command after the other."""
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
    again, told = run(
        "resume, train", ranks, nbytes, "train", *words, "--max-epochs", "8", "--resume", "auto", codes=(3,)
    )
    train.planned = again.planned = expected
    yield train
    yield again
    print(f"\nfirst life:\n{printed}\nsecond life:\n{told}", file=sys.stderr)


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
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        free = shutil.disk_usage(name).free
        if free < 2.2e9 * asked.gb:
            raise SystemExit(f"large: {name} has {free / 1e9:.1f} GB free; {2.2 * asked.gb:.1f} are needed")
        print(f"{asked.gb:g} GB of rows of {asked.d} float32 columns, {asked.ranks} ranks\n")
        print("| phase | seconds | MB/s | peak of a rank, MB | planned | ratio |\n|---|---|---|---|---|---|")
        for phase in phases(Path(name), asked.gb, asked.d, asked.ranks):
            ratio = phase.peak / phase.planned if phase.planned else 0.0
            told = (
                f"{phase.planned / 1e6:.0f} | {ratio:.2f}{' MISSED' if ratio > TARGET else ''}"
                if ratio
                else "bounded | "
            )
            rate = 1e-6 * phase.nbytes / phase.seconds
            print(
                f"| {phase.name} | {phase.seconds:.1f} | {rate:.0f} | {1e-6 * phase.peak:.0f} | {told} |", flush=True
            )


if __name__ == "__main__":
    main()
