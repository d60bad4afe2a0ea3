"""The true algorithm on the rows of a rank for some rounds: seconds of work, exchanges, and memory of an epoch.

It runs as two ranks of one process that take turns (as one, where one is planned): what a round is, is the same on
any number of ranks above one. Seconds are those of the processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.warm_start import first_of
from mpiopt.cluster.planning.clocks import ClockComm, Clocks
from mpiopt.cluster.planning.link import Link
from mpiopt.cluster.planning.sample import Sample
from mpiopt.comm.lockstep import spmd
from mpiopt.comm.threads import single
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Model, Stopping
from mpiopt.core.history import Clock
from mpiopt.core.state import Layout, layouts
from mpiopt.data.shard import Shard
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal
from mpiopt.training import loop
from mpiopt.training import warmup as kernels
from mpiopt.training.problem import pose
from mpiopt.training.run_state import RunPlan, RunState, RunTimer

R = TypeVar("R")

FEW = 256  # rows of the first run, in which the kernels are compiled
TRACED = 8192  # rows of the run whose memory is traced
NO_LINK = Link(0.0, 0.0, "given")


class Probe(NamedTuple):
    """What one rank of several does; all but the start for an epoch over all ranks."""

    rows: int  # of the rank, in this run
    start: float  # seconds of work before the first round
    start_epochs: float
    compute: float
    rounds: float
    start_met: Mapping[tuple[str, int], float]
    met: Mapping[tuple[str, int], float]  # verbs by name and bytes brought
    certified: float  # epochs to the tolerance; 0: it was not reached


class Until(NamedTuple):
    """How far a run goes: to the certificate, or some exact evaluations and seconds, but no longer than `most`."""

    tol: float = 1e-13
    periods: int = 3
    least: float = 0.3
    most: float = 3.0


FIRST = Until(periods=1, least=0.0)
LOADED, COMPILED = 0.02, 0.2  # seconds of the first calls: usual ones, and such as only a compiler takes


class Needs(NamedTuple):
    """Bytes of a rank beside its rows, labels and weights: fixed, and for each row."""

    fixed: float
    row: float


def objective_of(model: Model, sample: Sample, shard: Shard) -> Objective:
    """Pose the problem on a part of the rows, with the penalty of all of them."""
    penalised = replace(model, l2=model.ridge(sample.rows))
    return pose(penalised, shard, sample.data.target, sample.data.classes)


def probe(objectives: Sequence[Objective], algorithm: Algorithm[Any], seed: int, until: Until) -> Probe:
    """Run the start and some rounds on the ranks whose objectives are given, one at a time; local."""
    warm(objectives, algorithm, seed)
    return _turns(objectives, lambda objective, comm: _measured(objective, algorithm, comm, seed, until))[0]


def warm(objectives: Sequence[Objective], algorithm: Algorithm[Any], seed: int) -> None:
    """Compile what a run needs, by one on some rows; local."""
    few = [first_rows(objective, FEW, len(objectives)) for objective in objectives]
    _turns(few, lambda objective, comm: _begin(objective, algorithm, Channel(comm, seed)))


def first_calls(objective: Objective, algorithm: Algorithm[Any], seed: int) -> float:
    """Give the seconds that kernels and libraries take when a run first calls them, beside those warmed up before."""
    kernels.warm(objective)
    took = []
    for _ in range(2):
        began = time.process_time()
        warm([objective], algorithm, seed)
        took.append(time.process_time() - began)
    first = took[0] - took[1]
    return max(0.0, first) if first < COMPILED else LOADED


def _measured(objective: Objective, algorithm: Algorithm[Any], comm: ClockComm, seed: int, until: Until) -> Probe:
    watch, now = _begun(objective, algorithm, Channel(comm, seed))
    start, start_met = comm.spent.compute, dict(comm.spent.met)
    comm.spent.met.clear()
    epochs = _go_on(objective, algorithm, watch, now, until)
    started = _start_epochs(epochs)
    later = max(now.epochs - started, 1e-9)
    met = {key: count / later for key, count in comm.spent.met.items()}
    compute = (comm.spent.compute - start) / later
    reached = now.epochs if now.certificate.value <= until.tol else 0.0
    return Probe(len(objective.shard), start, started, compute, len(epochs) / later, start_met, met, reached)


def _turns(objectives: Sequence[Objective], work: Callable[[Objective, ClockComm], R]) -> list[R]:
    clocks = Clocks(NO_LINK)
    return spmd(len(objectives), lambda comm: work(objectives[comm.rank], ClockComm(comm, clocks)))


def needs(objective: Objective, algorithm: Algorithm[Any], seed: int) -> Needs:
    """Trace the memory of the start and a period on two numbers of rows; local."""
    most = min(TRACED, len(objective.shard))
    peaks = [_peak(first_rows(objective, n, 1), algorithm, seed) for n in (max(1, most // 2), most)]
    row = max(0.0, (peaks[1] - peaks[0]) / max(1, most - most // 2))
    return Needs(max(0.0, peaks[1] - row * most), row)


def state_bytes(objective: Objective, algorithm: Algorithm[Any], ranks: int) -> dict[Layout, float]:
    """Give the bytes of a state that are stored: once, for each row (SHARDED), for each rank."""
    state, found = algorithm.blank(objective, ranks), dict.fromkeys(Layout, 0.0)
    for name, layout in layouts(state).items():
        nbytes = getattr(state, name).nbytes
        found[layout] += nbytes / max(1, len(objective.shard)) if layout is Layout.SHARDED else nbytes
    return found


def first_rows(objective: Objective, count: int, ranks: int) -> Objective:
    """Give the objective of the first rows of this rank, all ranks having so many."""
    shard, n = objective.shard, min(count, len(objective.shard))
    part = replace(
        shard, rows=first_of(shard.rows, n), label=shard.label[:n], weight=shard.weight[:n], order=shard.order[:n],
        total=n * ranks,
    )  # fmt: skip
    return replace(objective, shard=part)


def _begun(objective: Objective, algorithm: Algorithm[Any], channel: Channel) -> tuple[RunTimer, RunState]:
    watch = RunTimer(algorithm.run_channel(channel), Clock(), StopSignal())
    now = loop.begin(RunPlan(Stopping()), objective, algorithm, watch)
    loop.record(now, 0.0, watch, lambda row: None)
    return watch, now


def _begin(objective: Objective, algorithm: Algorithm[Any], channel: Channel) -> None:
    watch, now = _begun(objective, algorithm, channel)
    _go_on(objective, algorithm, watch, now, FIRST)


def _go_on(
    objective: Objective, algorithm: Algorithm[Any], watch: RunTimer, now: RunState, until: Until
) -> list[float]:
    """Do rounds as far as they are wanted; give their epochs."""
    epochs: list[float] = []
    began = time.perf_counter()
    while True:
        progress = algorithm.step(now.round, now.state, objective, watch.channel)
        now.round += 1
        now.epochs += progress.epochs
        loop.evaluate_if_due(now, progress, objective, watch, lambda row: None)
        epochs.append(progress.epochs)
        spent = float(watch.channel.comm.max(np.array([time.perf_counter() - began]))[0])
        enough = spent >= until.most or (len(now.rows) > until.periods and spent >= until.least)
        if enough or progress.epochs == 0.0 or now.certificate.value <= until.tol:
            return epochs


def _start_epochs(epochs: Sequence[float]) -> float:
    """Give the epochs that the start spent: the first round's count has them beside its own."""
    return max(0.0, epochs[0] - epochs[1]) if len(epochs) > 1 else epochs[0] / 2


def _peak(objective: Objective, algorithm: Algorithm[Any], seed: int) -> int:
    tracemalloc.start()
    try:
        _begin(objective, algorithm, Channel(single(), seed))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
