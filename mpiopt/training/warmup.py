"""Compile the kernels that every job calls, for the types of its rows."""

from __future__ import annotations

import dataclasses

import numpy as np

from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.data.shard import DenseRows, Rows
from mpiopt.kernels import permutations
from mpiopt.objective.objective import Objective


def warm(objective: Objective) -> None:
    """Compile the kernels for the types of `objective`, or load them from the cache, on one row of zeros; local."""
    rows, one = _one_row(objective.shard.rows), np.ones(1)
    shard = dataclasses.replace(
        objective.shard, rows=rows, label=one, weight=one, order=np.zeros(1, np.int64), start=0, total=1, features=8,
        column_scale=None,
    )  # fmt: skip
    small = dataclasses.replace(objective, shard=shard)
    w, table = small.zeros(), np.zeros((1, small.outputs))
    average = small.refresh(w, table)[1]
    small.curvature(w)
    call = SagaCall(permutations.shuffled(1, 8, 0), np.zeros(small.width), 0.0, 0.0)
    local_steps(small, call, w, average, table)


def _one_row(rows: Rows) -> Rows:
    values = np.zeros((1, 8), rows.values.dtype)
    if isinstance(rows, DenseRows):
        return DenseRows(values)
    indptr, indices = np.array([0, 8]), np.arange(8, dtype=np.int32)
    return dataclasses.replace(rows, indptr=indptr, indices=indices, values=values[0], width=8)
