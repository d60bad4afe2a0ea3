"""What more ranks bring: seconds on 1 and 2 processes, and epochs and rounds on 16 label-sorted ranks (threads).

`python -m benchmarks.ranks SET PART REPEATS` under mpirun times fits of SET and prints one line of JSON on rank 0.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data import Problem, load
from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.training.fit import Fit, fit

LAUNCH = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,sm",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}


def launcher() -> str | None:
    """Give mpirun of this environment, or the machine's."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else shutil.which("mpirun")


def mpirun(ranks: int, *words: str, seconds: int = 600) -> str:
    """Run a Python program on `ranks` processes and give what it prints."""
    command = [str(launcher()), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    done = subprocess.run(
        [*command, sys.executable, "-m", "mpi4py", *words],
        env=os.environ | LAUNCH,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"mpirun -n {ranks} {' '.join(words)}: code {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def share(problem: Problem, comm: Comm) -> Problem:
    """Give this rank's rows."""
    first, last = block(len(problem.y), comm.size, comm.rank)
    return Problem(problem.name, problem.x[first:last], problem.y[first:last])


def solve(problem: Problem, comm: Comm, tolerance: float, algorithm: str = "auto") -> Fit:
    """Fit this rank's rows with default options; few epochs, so that a stall ends."""
    return fit(problem.x, problem.y, comm, intercept=False, algorithm=algorithm, tol=tolerance, max_epochs=150)


def seconds(name: str, part: float, tolerance: float, ranks: int, repeats: int) -> float:
    """Wall seconds of a fit on so many processes, the least of some; from rows in memory to the model."""
    printed = mpirun(ranks, "-m", "benchmarks.ranks", name, str(part), str(tolerance), str(repeats))
    return float(json.loads(printed.splitlines()[-1])["seconds"])


def main() -> None:
    """Time fits on the ranks of MPI's world."""
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    name, part, tolerance, repeats = sys.argv[1], *(float(word) for word in sys.argv[2:5])
    whole = load(name, part)
    if whole is None:
        raise SystemExit(f"no set {name}")
    mine, best = share(whole, comm), np.inf
    del whole
    for _ in range(1 + int(repeats)):
        comm.barrier()
        begin = time.perf_counter()
        solve(mine, comm, tolerance)
        best = min(best, float(comm.max(np.array([time.perf_counter() - begin]))[0]))
    if comm.rank == 0:
        print(json.dumps({"seconds": best}))


@dataclass(frozen=True)
class Effort:
    """Epochs and rounds to a suboptimality; inf where it was not reached."""

    epochs: float
    rounds: float


def efforts(problem: Problem, start: float, best: float, levels: tuple[float, ...], size: int) -> list[Effort]:
    """Fit by SAGA on `size` label-sorted ranks in threads; read from the history when each level was reached."""
    from mpiopt.comm.threads import spmd

    order = np.argsort(problem.y, kind="stable")
    ordered = Problem(problem.name, problem.x[order], problem.y[order]) if size > 1 else problem
    history = spmd(size, lambda comm: solve(share(ordered, comm), comm, 1e-11, "saga"), 600.0)[0].history
    found = []
    for level in levels:
        row = next((r for r in history if (r.objective - best) / (start - best) < level), None)
        found.append(Effort(row.epoch, row.round) if row else Effort(np.inf, np.inf))
    return found


if __name__ == "__main__":
    import benchmarks  # noqa: F401  sets the threads before anything else

    main()
