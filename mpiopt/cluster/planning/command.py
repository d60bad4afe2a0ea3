"""The command `plan`: measure on the rows of one rank, predict for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.cluster.planning import failures, link, probe, sample, tables
from mpiopt.cluster.planning.planner import Planner
from mpiopt.cluster.planning.question import USAGE, Question, ask
from mpiopt.comm.base import Comm
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.problem import target_of


def plan(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print what a job will cost; collective: all ranks of this run measure at once."""
    if "--help" in words or not words:
        return _say(comm, USAGE)
    if any(word.startswith("--save-seconds") for word in words):
        return _say(comm, failures.told(words))
    question = ask(words)
    if question.simulate:
        from mpiopt.cluster.planning.simulated import simulate

        return _say(comm, simulate(question, comm))
    program = program_of(question, comm)
    planner = Planner.of(question, comm, program.first_calls)
    found = [planner.outlook(ranks) for ranks in planner.scan()]
    text = tables.whole(planner, found, program.nbytes)
    return _say(comm, text)


def _say(comm: Comm, text: str) -> int:
    if comm.rank == 0:
        print(text, flush=True)
    return 0


class Program(NamedTuple):
    """What a rank takes with hardly any rows."""

    nbytes: float  # the most, of memory
    first_calls: float  # seconds of loading what a run calls


def program_of(question: Question, comm: Comm) -> Program:
    """Read one piece and make some rounds; give the most of all ranks."""
    from mpiopt.core import hdf5  # noqa: F401  its libraries belong to a run
    from mpiopt.results.summary import peak_nbytes

    job = question.job
    rows = sample.take(job.path, target_of(job.model), job.data, question.rows, job.seed, most=1)
    small = Planner(question, rows, link.read(link.ASSUMED, 1), comm)
    objective, algorithm, first_calls = small.objective(1), small.algorithm(1)[0], 0.0
    for turn in (True, False):  # rank 0 compiles alone, then the others find the cache full
        if turn == (comm.rank == 0):
            first_calls = probe.first_calls(objective, algorithm, job.seed)
        comm.barrier()
    return Program(*comm.max(np.array([peak_nbytes(), first_calls])).tolist())
