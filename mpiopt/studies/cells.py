"""Run the cells of a study on all ranks of a communicator."""

from __future__ import annotations

import operator
import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.resilience.signals import StopSignal

Cell = TypeVar("Cell")
Outcome = TypeVar("Outcome")


def run_cells(
    cells: Sequence[Cell],
    solve: Callable[[Cell], Outcome | None],
    describe: Callable[[Outcome, float], str],
    comm: Comm,
    stop: StopSignal,
) -> list[Outcome]:
    """Run every `size`-th cell on this rank and return the outcomes of all ranks, in the order of the cells.

    Parameters
    ----------
    cells
        All cells of the job, the same on all ranks.
    solve
        Runs one cell; None stands for a cell without an outcome.
    describe
        Returns the progress line of an outcome and the seconds that it took.
    comm
        The call is collective.
    stop
        After a signal no further cell is begun.
    """
    mine = []
    for number in range(comm.rank, len(cells), comm.size):
        if stop.level:
            break
        began = time.perf_counter()
        outcome = solve(cells[number])
        if outcome is not None:
            print(describe(outcome, time.perf_counter() - began), flush=True)
            mine.append((number, outcome))
    return [outcome for _, outcome in sorted(gather(comm, mine), key=operator.itemgetter(0))]


def gather(comm: Comm, mine: list[Any]) -> list[Any]:
    """Return the values of all ranks, in rank order; collective."""
    parts = comm.allgather(np.frombuffer(pickle.dumps(mine), np.uint8))
    return [value for part in parts for value in pickle.loads(part.tobytes())]
