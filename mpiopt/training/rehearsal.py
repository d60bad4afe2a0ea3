"""Compile the kernels of a job before its clock starts: one process runs the job's algorithm on a few made-up rows.

Kernels are compiled at their first call. In a first run of a setting that takes far longer than the run itself, and
it is no part of what algorithms are compared by. So the whole loop runs first on made-up rows of the same form: the
same types, loss, penalty and algorithm. Rank 0 compiles, while the others wait; then they read the kernels from the
cache. A kernel that the rehearsal does not reach is compiled in the loop, and counted as compiling there, too
(`mpiopt.kernels.kernel_cache.compile_seconds`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.portfolio import Portfolio
from mpiopt.comm.base import Comm
from mpiopt.comm.threads import single
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import Clock
from mpiopt.data.offsets import beside
from mpiopt.data.row_formats import padded_width
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Shard
from mpiopt.objective.bounds import Bounds
from mpiopt.objective.column_groups import ColumnGroups
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.loop import run
from mpiopt.training.run_state import RunPlan

SILENCE = 1.5  # seconds after which a message reports the compilation; loading from the cache takes less
MESSAGE = "compiling for this machine, before the clock starts; later runs load the kernels from the cache"
ROWS, COLUMNS = 64, 5  # of the rehearsal: enough for labels that no model separates
CLASSES = 3  # at most
EPOCHS = 12.0  # some rounds of every algorithm
ROUND_SECONDS = 0.01  # of a rehearsal, at most
L1, L2 = 1e-3, 1e-2  # strengths of the penalties that the job has: so weak that the model is not 0

logger = logging.getLogger(__name__)

_known: set[tuple[Any, ...]] = set()  # what this process has rehearsed
_first = threading.Lock()


def compile_kernels(
    objective: Objective, portfolio: Portfolio, comm: Comm, clock: Clock, say: Callable[[str], None]
) -> None:
    """Compile what the first algorithm of a job calls, and say so if that takes long; collective.

    Parameters
    ----------
    objective : Objective
        Its types, loss and penalty count, its rows do not.
    portfolio : Portfolio
        The job's algorithms. Another one that goes on later is compiled when it does.
    comm : Comm
        The ranks.
    clock : Clock
        Takes the seconds as those of the phase "compile".
    say : callable
        Prints a line.
    """
    began = time.perf_counter()
    if comm.rank == 0:
        timer = threading.Timer(SILENCE, say, [MESSAGE])
        timer.daemon = True
        timer.start()
        try:
            rehearse(objective, portfolio.first)
        finally:
            timer.cancel()
    comm.barrier()
    if comm.rank != 0:
        rehearse(objective, portfolio.first)
    clock.add("compile", time.perf_counter() - began)


def compile_compressor(channel: Channel, objective: Objective, clock: Clock) -> None:
    """Compile the kernels of the compressor, as `compile_kernels` does; collective."""
    began = time.perf_counter()
    for first in (True, False):
        if channel.compressor is not None and (channel.rank == 0) == first:
            for d in (8, objective.zeros().size):
                channel.compressor.decode(channel.compressor.encode(np.ones(d), 0), d)
        if first:
            channel.comm.barrier()
    clock.add("compile", time.perf_counter() - began)


def rehearse(objective: Objective, algorithm: Algorithm[Any]) -> None:
    """Run an algorithm on made-up rows of the form of those of `objective`, once in a process; local."""
    key = _form(objective, algorithm)
    with _first:  # of ranks that are threads of one process, the first does it for all
        if key in _known:
            return
        stop = Stopping(tol=1e-10, max_epochs=EPOCHS)
        # Made-up rows may be what an algorithm cannot take; the job's own are not concerned.
        try:
            channel = Channel(single(), 0)
            run(
                RunPlan(stop),
                made_up(objective),
                hurried(algorithm),
                channel,
                StopSignal(),
                Clock(),
                lambda row: None,
            )
        except Exception as error:  # whatever it is, the job itself is not concerned
            logger.debug("the rehearsal ended early: %s", error)
        _known.add(key)


def hurried(algorithm: Any) -> Any:
    """Return the algorithm with short rounds if the user has said how long they take."""
    if getattr(algorithm, "round_seconds", 0.0) <= ROUND_SECONDS:
        return algorithm
    return replace(algorithm, round_seconds=ROUND_SECONDS)


def _form(objective: Objective, algorithm: Algorithm[Any]) -> tuple[Any, ...]:
    """Return all that decides which kernels are called, for which types."""
    rows, shard = objective.shard.rows, objective.shard
    options = tuple(str(getattr(algorithm, field.name)) for field in fields(algorithm))
    return (
        type(algorithm), options, objective.loss, type(rows), rows.values.dtype, min(objective.outputs, CLASSES),
        shard.intercept, shard.column_scale is None, objective.bounds is None, shard.has_offsets,
        objective.groups is None,
        *(bool(strength) for strength in objective.penalty.strengths),
    )  # fmt: skip


def made_up(objective: Objective) -> Objective:
    """Return a small objective whose rows have the form and the types of those of `objective`."""
    random = np.random.default_rng(0)
    shard, loss = objective.shard, objective.loss
    x = random.normal(size=(ROWS, COLUMNS)) * (random.random((ROWS, COLUMNS)) < 0.8)
    classes = min(objective.classes, CLASSES)
    l1, l2 = objective.penalty.strengths
    small = Shard(
        rows=_in_form(shard.rows, x, shard.intercept),
        label=beside(_labels(loss.target, classes, random), random.normal(size=ROWS) if shard.has_offsets else None),
        weight=np.ones(ROWS),
        order=np.arange(ROWS, dtype=np.int64),
        start=0,
        total=ROWS,
        features=COLUMNS,
        intercept=shard.intercept,
        column_scale=None if shard.column_scale is None else np.ones(COLUMNS),
    )
    penalty = Penalty.make("elastic-net", {"l1": L1 * bool(l1), "l2": L2 * bool(l2)})
    width = small.rows.width
    bounds = None if objective.bounds is None else Bounds(np.zeros(width), np.full(width, np.inf))
    made = replace(
        objective, shard=small, penalty=penalty, classes=classes, constants=None, initial=None, bounds=bounds
    )
    groups = None if objective.groups is None else ColumnGroups.of(np.arange(COLUMNS) // 2, made.rate)
    return replace(made, groups=groups)


def _labels(target: str, classes: int, random: np.random.Generator) -> NDArray[np.float64]:
    whole = random.integers(0, max(classes, 2), ROWS).astype(np.float64)
    made = {
        "binary": 2.0 * (random.random(ROWS) < 0.5) - 1.0,
        "multiclass": whole,
        "count": whole,
        "rate": random.random(ROWS),
        "positive": 0.5 + random.random(ROWS),
    }
    return np.asarray(made.get(target, random.normal(size=ROWS)), np.float64)


def _in_form(rows: Rows, x: NDArray[np.float64], intercept: bool) -> Rows:
    """Return `x` with a column of ones for the intercept, in the form of `rows`."""
    kind = rows.values.dtype
    if intercept:
        x = np.hstack([x, np.ones((ROWS, 1))])
    if isinstance(rows, DenseRows):
        values = np.zeros((ROWS, padded_width(x.shape[1])), kind)
        values[:, : x.shape[1]] = x
        return DenseRows(values)
    place, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=ROWS))]).astype(np.int64)
    return CsrRows(indptr, column.astype(np.int32), x[place, column].astype(kind), x.shape[1])
