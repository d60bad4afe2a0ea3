"""The command `plan`: measure the work on a sample of rows, predict the job on all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.cluster.planning import failures, link, probe, sample, tables
from mpiopt.cluster.planning.plan_args import USAGE as USAGE
from mpiopt.cluster.planning.plan_args import PlanRequest, read
from mpiopt.cluster.planning.planner import Planner
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.problem import link_of, target_of


def plan(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print the predicted time, memory and traffic of a job; collective: all ranks of this run measure at once."""
    if not words:
        raise ValueError("plan needs data: mpiopt plan DATA --ranks P; see mpiopt plan --help")
    if any(word.startswith("--save-seconds") for word in words):
        print_on_root(comm, failures.describe(words))
        return 0
    request = read(words)
    if request.simulate:
        from mpiopt.cluster.planning.simulated import simulate

        print_on_root(comm, simulate(request, comm))
        return 0
    program = program_of(request, comm)
    planner = Planner.of(request, comm, program.first_calls)
    predictions = [planner.predict(ranks) for ranks in planner.scan()]
    print_on_root(comm, tables.plan_tables(planner, predictions, program.nbytes))
    return 0


class Program(NamedTuple):
    """The needs of a rank with hardly any rows."""

    nbytes: float  # peak of memory, bytes
    first_calls: float  # seconds to load kernels and libraries


def program_of(request: PlanRequest, comm: Comm) -> Program:
    """Read one piece and make some rounds; return the maximum over the ranks; collective."""
    from mpiopt.core import hdf5  # noqa: F401  a run loads these libraries, too
    from mpiopt.results.summary import peak_nbytes

    job = request.job
    rows = sample.take(
        job.path, target_of(job.model), job.data, request.rows, job.seed, most=1, link=link_of(job.model)
    )
    small = Planner(request, rows, job.model, link.read(link.ASSUMED, 1), comm)
    objective, algorithm, first_calls = small.objective(1), small.algorithm(1)[0], 0.0
    for turn in (True, False):  # rank 0 compiles alone, then the others load from the cache
        if turn == (comm.rank == 0):
            first_calls = probe.first_calls(objective, algorithm, job.seed)
        comm.barrier()
    return Program(*comm.max(np.array([peak_nbytes(), first_calls])).tolist())
