"""Compile what a job needs before its ranks start together: one rank first, then the others find the cache full."""

from __future__ import annotations

import dataclasses

import numpy as np

from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.data.shard import DenseRows, Rows
from mpiopt.kernels import permutations
from mpiopt.objective.objective import Objective


def warm(objective: Objective) -> None:
    """Compile (or load from the cache) the kernels for the types of `objective`, on one row of zeros.

    Local: rank 0 calls it, then a barrier, then the others call it.
    """
    rows, one = _one_row(objective.shard.rows), np.ones(1)
    shard = dataclasses.replace(
        objective.shard, rows=rows, label=one, weight=one, order=np.zeros(1, np.int64), start=0, total=1, features=8
    )
    small = dataclasses.replace(objective, shard=shard)
    w, table = small.zeros(), np.zeros((1, small.outputs))
    average = small.refresh(w, table)[1]
    small.curvature(w)
    moves = SagaCall(permutations.shuffled(1, 8, 0), np.zeros(small.width), 0.0, 0.0)
    local_steps(small, moves, w, average, table)


def _one_row(rows: Rows) -> Rows:
    values = np.zeros((1, 8), rows.values.dtype)
    if isinstance(rows, DenseRows):
        return DenseRows(values)
    indptr, indices = np.array([0, 8]), np.arange(8, dtype=np.int32)
    return dataclasses.replace(rows, indptr=indptr, indices=indices, values=values[0], width=8)
