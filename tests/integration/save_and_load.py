"""A program for mpirun: save_and_load.py FOLDER FORM FIRST LAST saves made-up states as rounds FIRST … LAST.

It writes the process number of each rank to FOLDER/pid-RANK and the last round whose save has returned to
FOLDER/saved, for the tests that kill it.
"""

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiopt.core.partition import block
from mpiopt.core.state import PerRank, Replicated, Sharded
from mpiopt.data.shard import DenseRows, Shard

JOB = "seed = 1\n"
TOTAL = 30_011


@dataclass
class State:
    w: Replicated  # (2, 16)
    table: Sharded  # (n, 3)
    private: PerRank  # (4,)


def shard_of(comm, total=TOTAL):
    start, stop = block(total, comm.size, comm.rank)
    n = stop - start
    order = np.random.default_rng([comm.rank, comm.size]).permutation(n)
    return Shard(DenseRows(np.zeros((n, 8))), np.zeros(n), np.ones(n), order, start, total, features=8)


def state_of(k, comm, shard):
    """The state of round k: the same function of the sequence on any number of ranks."""
    position = shard.start + shard.order
    table = np.sin(position[:, None] + np.arange(3) + 0.1 * k)
    return State(np.cos(np.arange(32.0) + k).reshape(2, 16), table, np.full(4, 100.0 * comm.rank + k))


def load(checkpoints, comm):
    """Load and compare with the state of the round that the checkpoint says it is."""
    shard = shard_of(comm)
    got = state_of(-1, comm, shard)
    loaded = checkpoints.load(lambda meta: got, shard, JOB)
    want = state_of(loaded.k, comm, shard)
    np.testing.assert_array_equal(got.w, want.w)
    np.testing.assert_array_equal(got.table, want.table)
    np.testing.assert_array_equal(got.private, (want if loaded.same_ranks else state_of(-1, comm, shard)).private)
    return loaded


def main(folder, form, first, last):
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm
    from mpiopt.resilience.checkpoint.async_store import BackgroundCheckpoints
    from mpiopt.resilience.checkpoint.store import Checkpoints

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    Path(folder, f"pid-{comm.rank}").write_text(str(os.getpid()))
    comm.barrier()
    shard = shard_of(comm)
    place = Path(folder, "ckpt")
    checkpoints = BackgroundCheckpoints(place, comm) if form == "background" else Checkpoints(place, comm, form)
    saved = os.open(Path(folder, "saved"), os.O_WRONLY | os.O_CREAT, 0o644)
    for k in range(int(first), int(last) + 1):
        checkpoints.save(k, state_of(k, comm, shard), shard, {"job": JOB})
        if comm.rank == 0:
            os.pwrite(saved, b"%12d" % k, 0)


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(*sys.argv[1:])
