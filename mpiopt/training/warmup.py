"""Compile what a job needs: first on rank 0, so that the other ranks find the kernels in the cache."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import numpy as np

from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.data.shard import DenseRows, Rows
from mpiopt.kernels import permutations
from mpiopt.objective.objective import Objective

SILENCE = 1.5  # seconds after which a message reports the compilation; loading from the cache takes less


def warm_kernels(objective: Objective, comm: Comm, say: Callable[[str], None]) -> None:
    """Compile the kernels on rank 0, and say so if that takes long; collective."""
    if comm.rank == 0:
        timer = threading.Timer(
            SILENCE, say, ["compiling for this machine; later runs load the kernels from the cache"]
        )
        timer.daemon = True
        timer.start()
        try:
            warm(objective)
        finally:
            timer.cancel()
    comm.barrier()


def warm_compressor(channel: Channel, objective: Objective) -> None:
    """Compile the kernels of the compressor on rank 0; collective."""
    if channel.compressor is not None and channel.rank == 0:
        for d in (8, objective.zeros().size):
            channel.compressor.decode(channel.compressor.encode(np.ones(d), 0), d)
    channel.comm.barrier()


def warm(objective: Objective) -> None:
    """Compile the kernels for the types of `objective`, or load them from the cache, on one row of zeros; local."""
    rows, one = _one_row(objective.shard.rows), np.ones(1)
    shard = dataclasses.replace(
        objective.shard, rows=rows, label=one, weight=one, order=np.zeros(1, np.int64), start=0, total=1, features=8
    )
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
