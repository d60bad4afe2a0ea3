"""Some rounds of the job's own algorithm on the rows of a rank: seconds of work, exchanges and memory of an epoch.

Two ranks of one process take turns; for a plan on one rank there is only one. A round is the same on any larger
number of ranks. Seconds are those of the processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.portfolio import Portfolio
from mpiopt.cluster.planning.clocks import ClockComm, Clocks
from mpiopt.cluster.planning.link import Link
from mpiopt.cluster.planning.sample import Sample, part
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import text_from_root
from mpiopt.comm.lockstep import spmd
from mpiopt.comm.threads import single
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Model, Stopping
from mpiopt.core.history import Clock
from mpiopt.core.state import Layout, layouts
from mpiopt.data.shard import Shard
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.beginning import begin
from mpiopt.training.evaluating import evaluate_if_due, record
from mpiopt.training.problem import pose
from mpiopt.training.run_state import RunPlan, RunState, RunTimer
from mpiopt.training.structure import bounded_and_grouped

R = TypeVar("R")

WARM_ROWS = 256  # rows of the first run, in which the kernels are compiled
TRACED_ROWS = 8192  # rows of the run whose memory is traced: with more, fixed needs are a small part
NO_LINK = Link(0.0, 0.0, "given")


class Measurement(NamedTuple):
    """The work and the exchanges of one rank; except for the start, those of an epoch over all ranks."""

    rows: int  # of the rank, in the measured run
    start: float  # seconds of work before the first round
    start_epochs: float
    compute: float  # seconds of work
    rounds: float
    start_calls: Mapping[tuple[str, int], float]  # collective operations of the start, by name and bytes
    calls: Mapping[tuple[str, int], float]  # collective operations by name and bytes
    certified: float  # epochs to the tolerance; 0: it was not reached
    spread: float = 0.0  # extra work of the slowest rank of this run, as a part of the mean
    start_rows: int = 0  # of the rank where the exchanges of the start were counted; 0: `rows`


class ProbeLimits(NamedTuple):
    """The end of a measured run: the tolerance, or both `periods` and `least`, but at the latest `most`."""

    tol: float = 1e-13  # of the certificate
    periods: int = 3  # exact evaluations
    least: float = 0.3  # seconds: a shorter run is measured too inexactly
    most: float = 3.0  # seconds


ONE_PERIOD = ProbeLimits(periods=1, least=0.0)
LOAD_SECONDS = 0.02  # typical seconds to load compiled kernels at their first calls
COMPILE_SECONDS = 0.2  # a first call that takes longer has compiled a kernel, which a job does only once


class MemoryNeeds(NamedTuple):
    """Bytes of a rank beside its rows, labels and weights."""

    fixed: float
    row: float  # for each row


def objective_of(model: Model, sample: Sample, shard: Shard) -> Objective:
    """Pose the problem on a part of the rows, with the penalty of all of them; a matrix has no part in it."""
    data, penalised = sample.data, replace(model, l2=model.ridge(sample.rows))
    objective = pose(penalised, shard, data.target, data.classes)
    units = ColumnUnits.of(data.mean, data.scale, data.coordinates, shard.intercept)
    return bounded_and_grouped(objective, model, units, data.names)


def probe(objectives: Sequence[Objective], algorithm: Algorithm[Any], seed: int, until: ProbeLimits) -> Measurement:
    """Run the start and some rounds, with one rank for each objective; local."""
    warm(objectives, algorithm, seed)
    return _in_turns(objectives, lambda objective, comm: _measured(objective, algorithm, comm, seed, until))[0]


def warm(objectives: Sequence[Objective], algorithm: Algorithm[Any], seed: int) -> None:
    """Compile the kernels of a run by a short run on some rows; local."""
    few = [first_rows(objective, WARM_ROWS, len(objectives)) for objective in objectives]
    _in_turns(few, lambda objective, comm: _run_one_period(objective, algorithm, Channel(comm, seed)))


def first_calls(objective: Objective, algorithm: Algorithm[Any], seed: int) -> float:
    """Return the seconds to load kernels and libraries at their first calls in a run."""
    took = []
    for _ in range(2):
        began = time.process_time()
        warm([objective], algorithm, seed)
        took.append(time.process_time() - began)
    first = took[0] - took[1]
    return max(0.0, first) if first < COMPILE_SECONDS else LOAD_SECONDS


def _measured(
    objective: Objective, algorithm: Algorithm[Any], comm: ClockComm, seed: int, until: ProbeLimits
) -> Measurement:
    watch, now = _begun(objective, algorithm, Channel(comm, seed), until.tol)
    start, start_calls = comm.spent.compute, dict(comm.spent.calls)
    comm.spent.calls.clear()
    epochs = _run_rounds(objective, algorithm, watch, now, until)
    started = _start_epochs(epochs)
    later = max(now.epochs - started, 1e-9)
    calls = {key: count / later for key, count in comm.spent.calls.items()}
    compute = (comm.spent.compute - start) / later
    reached = now.epochs if now.certificate.value <= until.tol else 0.0
    return Measurement(
        len(objective.shard), start, started, compute, len(epochs) / later, start_calls, calls, reached
    )


def from_root(mine: Measurement, comm: Comm) -> Measurement:
    """Return the counts of rank 0: how far a measured run came depends on each rank's clock; collective."""
    counts = (mine.start_epochs, mine.rounds, [*mine.start_calls.items()], [*mine.calls.items()], mine.certified)
    shared = json.loads(text_from_root(comm, lambda: json.dumps(counts)))
    start_epochs, rounds, start_calls, calls, certified = shared
    return mine._replace(
        start_epochs=start_epochs,
        rounds=rounds,
        start_calls={(verb, nbytes): count for (verb, nbytes), count in start_calls},
        calls={(verb, nbytes): count for (verb, nbytes), count in calls},
        certified=certified,
    )


def _in_turns(objectives: Sequence[Objective], work: Callable[[Objective, ClockComm], R]) -> list[R]:
    clocks = Clocks(NO_LINK)
    return spmd(len(objectives), lambda comm: work(objectives[comm.rank], ClockComm(comm, clocks)))


def memory_needs(objective: Objective, algorithm: Algorithm[Any], seed: int) -> MemoryNeeds:
    """Trace the memory of the start and of one period, with two numbers of rows; local."""
    most = min(TRACED_ROWS, len(objective.shard))
    peaks = [_peak(first_rows(objective, n, 1), algorithm, seed) for n in (max(1, most // 2), most)]
    row = max(0.0, (peaks[1] - peaks[0]) / max(1, most - most // 2))
    return MemoryNeeds(max(0.0, peaks[1] - row * most), row)


def state_bytes(objective: Objective, algorithm: Algorithm[Any], ranks: int) -> dict[Layout, float]:
    """Return the stored bytes of a state by layout: once, for each row (SHARDED), for each rank."""
    state, sizes = algorithm.blank(objective, ranks), dict.fromkeys(Layout, 0.0)
    for name, layout in layouts(state).items():
        nbytes = getattr(state, name).nbytes
        sizes[layout] += nbytes / max(1, len(objective.shard)) if layout is Layout.SHARDED else nbytes
    return sizes


def first_rows(objective: Objective, count: int, ranks: int) -> Objective:
    """Return the objective on the first `count` rows of this rank; all ranks have as many."""
    n = min(count, len(objective.shard))
    return replace(objective, shard=part(objective.shard, 0, n, n * ranks))


def _begun(
    objective: Objective, algorithm: Algorithm[Any], channel: Channel, tol: float = ONE_PERIOD.tol
) -> tuple[RunTimer, RunState]:
    watch = RunTimer(algorithm.run_channel(channel), Clock(), StopSignal())
    now = begin(RunPlan(Stopping(tol), row_space=False), objective, Portfolio((algorithm,)), watch)
    record(now, 0.0, watch, lambda row: None)
    return watch, now


def _run_one_period(objective: Objective, algorithm: Algorithm[Any], channel: Channel) -> None:
    watch, now = _begun(objective, algorithm, channel)
    _run_rounds(objective, algorithm, watch, now, ONE_PERIOD)


def _run_rounds(
    objective: Objective, algorithm: Algorithm[Any], watch: RunTimer, now: RunState, until: ProbeLimits
) -> list[float]:
    """Run rounds until the limits are reached; return the epochs of each."""
    if now.judgement is not None and now.judgement.ending:  # such a part has no optimum: a class may be missing
        return [0.0]
    epochs: list[float] = []
    began = time.perf_counter()
    while True:
        progress = algorithm.step(now.round, now.state, objective, watch.channel)
        now.round += 1
        now.epochs += progress.epochs
        evaluate_if_due(now, progress, objective, watch, lambda row: None)
        epochs.append(progress.epochs)
        spent = float(watch.channel.comm.max(np.array([time.perf_counter() - began]))[0])
        enough = spent >= until.most or (len(now.rows) > until.periods and spent >= until.least)
        if enough or progress.epochs == 0.0 or now.certificate.value <= until.tol:
            return epochs


def _start_epochs(epochs: Sequence[float]) -> float:
    """Return the epochs of the start, which the first round's count includes."""
    return max(0.0, epochs[0] - epochs[1]) if len(epochs) > 1 else epochs[0] / 2


def _peak(objective: Objective, algorithm: Algorithm[Any], seed: int) -> int:
    tracemalloc.start()
    try:
        _run_one_period(objective, algorithm, Channel(single(), seed))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
