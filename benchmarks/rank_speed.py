"""Effect of more ranks: seconds on 1 and 2 processes, and epochs and rounds on 16 label-sorted ranks (threads).

`python -m benchmarks.rank_speed SET PART REPEATS` under mpirun times fits of SET; rank 0 prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.data import Problem, Scale, load
from benchmarks.launching import mpirun, world
from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.training.fit import fit
from mpiopt.training.fitted import Fit


def share(problem: Problem, comm: Comm) -> Problem:
    """Return the rows of this rank."""
    first, last = block(len(problem.y), comm.size, comm.rank)
    return Problem(problem.name, problem.x[first:last], problem.y[first:last])


def solve(problem: Problem, comm: Comm, tolerance: float, algorithm: str = "auto") -> Fit:
    """Fit the rows of this rank with default options; the epochs are limited in case the fit stalls."""
    return fit(problem.x, problem.y, comm, intercept=False, algorithm=algorithm, tol=tolerance, max_epochs=150)


def seconds(name: str, part: float, tolerance: float, ranks: int, repeats: int) -> float:
    """Return the least wall seconds of a fit on so many processes, from rows in memory to the model."""
    printed = mpirun(ranks, "-m", "benchmarks.rank_speed", name, str(part), str(tolerance), str(repeats))
    return float(json.loads(printed.splitlines()[-1])["seconds"])


def main() -> None:
    """Time fits on the ranks of MPI's world."""
    comm = world()
    name, part, tolerance, repeats = sys.argv[1], *(float(word) for word in sys.argv[2:5])
    whole = load(name, part)
    if whole is None:
        raise SystemExit(f"no data set {name}; set MPIOPT_DATA to the folder of the real sets")
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
    """Epochs and rounds to a suboptimality; inf if it was not reached."""

    epochs: float
    rounds: float


def efforts(problem: Problem, scale: Scale, levels: tuple[float, ...], size: int) -> list[Effort]:
    """Fit by SAGA on `size` label-sorted ranks in threads; return the effort to each level, from the history."""
    from mpiopt.comm.threads import spmd

    order = np.argsort(problem.y, kind="stable")
    ordered = Problem(problem.name, problem.x[order], problem.y[order]) if size > 1 else problem
    history = spmd(size, lambda comm: solve(share(ordered, comm), comm, 1e-11, "saga"), 600.0)[0].history
    found = []
    for level in levels:
        row = next((r for r in history if scale.suboptimality(r.objective) < level), None)
        found.append(Effort(row.epoch, row.round) if row else Effort(np.inf, np.inf))
    return found


if __name__ == "__main__":
    import benchmarks  # noqa: F401  sets the threads before anything else

    main()
