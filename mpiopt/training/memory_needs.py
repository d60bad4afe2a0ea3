"""The memory that an algorithm needs beside the rows, and the memory that each rank may take.

The arrays of a state are counted on states of tiny problems: their bytes are linear in the rows and in the width.
Matrices of curvature are not in the state and are counted by their formulas.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mpiopt.algorithms import preconditioner
from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.second_order.lbfgs import Lbfgs
from mpiopt.algorithms.second_order.newton_cg import NewtonCg
from mpiopt.algorithms.second_order.working_set import WorkingSet
from mpiopt.comm.base import Comm
from mpiopt.core import memory
from mpiopt.data.shard import DenseRows
from mpiopt.objective.objective import Objective

NUMBER = 8  # bytes of a float64
MODELS, COLUMNS_OF_ROWS = 3, 2  # that an evaluation makes: model, gradient, trial; margins and slopes of each row
SQUARES = 4  # matrices of a factorisation at a time: own and whole curvature, factor, inverse
COUPLED = 12  # the same where the outputs are coupled, measured: blocks between classes, their common part, sums
WIDTH = 8  # columns of a tiny problem


class Room(NamedTuple):
    """What each rank may take, equal on all ranks."""

    nbytes: float
    sharing: int  # ranks of the node with the least room
    rows: int  # of the rank with the most


def room_of(rows: int, comm: Comm) -> Room:
    """Return the least memory of any rank; `rows` is the number of this rank; collective.

    The ranks of a node share what is available there.
    """
    here = np.frombuffer(platform.node().encode(), np.uint8)
    nodes = [part.tobytes() for part in comm.allgather(here)]
    sharing = nodes.count(here.tobytes())
    free = memory.available()
    mine = min(free.shared / sharing, free.own)
    every = np.array(comm.allgather(np.array([mine, sharing, rows], np.float64))).reshape(-1, 3)
    least = every[np.argmin(every[:, 0])]
    return Room(float(least[0]), int(least[1]), int(every[:, 2].max()))


def needed_nbytes(algorithm: Algorithm[Any], objective: Objective, rows: int, size: int) -> float:
    """Return the bytes of a rank with so many rows, of `size` ranks, beside its rows, labels and weights; local."""
    state = [_state_nbytes(algorithm, objective, n, w, size) for n, w in ((1, WIDTH), (2, WIDTH), (1, 2 * WIDTH))]
    of_row, of_column = state[1] - state[0], (state[2] - state[0]) / WIDTH
    least = state[0] - of_row - of_column * WIDTH
    models = MODELS * NUMBER * objective.outputs * objective.width
    passes = COLUMNS_OF_ROWS * NUMBER * objective.outputs * rows
    fields = least + of_row * rows + of_column * objective.width
    return float(fields + models + passes + NUMBER * _matrix_numbers(algorithm, objective))


def without_matrix(algorithm: Algorithm[Any]) -> Algorithm[Any] | None:
    """Return the algorithm as it runs without a matrix of curvature; None if it needs one or has none."""
    if isinstance(algorithm, Lbfgs) and algorithm.sampled:
        return replace(algorithm, sampled=False)
    if isinstance(algorithm, Saga) and algorithm.preconditioner == "auto":
        return replace(algorithm, preconditioner="diagonal")
    return None


def _matrix_numbers(algorithm: Algorithm[Any], objective: Objective) -> float:
    """Return the numbers of the matrices of curvature that an algorithm makes."""
    columns, unknowns = objective.width, objective.outputs * objective.width
    coupled = objective.outputs > 1 and ("small model" in algorithm.needs or preconditioner.is_coupled(objective))
    side = unknowns if coupled or objective.outputs == 1 else columns
    squares = float(COUPLED if coupled else SQUARES)
    if "small model" in algorithm.needs:
        return squares * float(side) ** 2
    if isinstance(algorithm, Saga) and algorithm.fully_preconditioned(objective):
        return (squares + 2.0) * float(side) ** 2
    smooth = not objective.threshold.any()
    if isinstance(algorithm, WorkingSet):
        return squares * float(min(unknowns, algorithm.limit)) ** 2
    sampled = isinstance(algorithm, Lbfgs | NewtonCg) and algorithm.sampled
    if sampled and smooth and columns <= preconditioner.LARGEST_WIDTH:
        return (squares * side + unknowns) * float(side)
    return 0.0


def _state_nbytes(algorithm: Algorithm[Any], objective: Objective, rows: int, width: int, size: int) -> int:
    shard = objective.shard
    one = np.ones(rows)
    tiny = replace(
        shard,
        rows=DenseRows(np.zeros((rows, width))),
        label=one,
        weight=one,
        order=np.arange(rows),
        start=0,
        total=rows,
        features=width - shard.intercept,
        parts=None,
    )
    state = algorithm.blank(replace(objective, shard=tiny), size)
    return sum(a.nbytes for a in vars(state).values() if isinstance(a, np.ndarray))
