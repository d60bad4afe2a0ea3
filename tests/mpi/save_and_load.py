"""A program for mpirun: save made-up states, or load the newest and compare; the tests beside it start it.

save_and_load.py save FOLDER FORM FIRST LAST     save round FIRST … LAST
save_and_load.py load FOLDER                     load; the state must be that of the round it says
"""

import sys
import warnings
from dataclasses import dataclass

import mpi4py.MPI as MPI
import numpy as np

from mpiopt.comm.threads import raise_first
from mpiopt.hdf5 import Checkpoints
from mpiopt.shard import DenseRows, Shard, block
from mpiopt.state import PerRank, Replicated, Sharded

warnings.simplefilter("error")
JOB = "seed = 1\n"
TOTAL = 30_011


class Ranks:
    """What checkpoints need of a communicator, over mpi4py."""

    def __init__(self, raw):
        self.raw, self.rank, self.size = raw, raw.rank, raw.size

    def sum(self, x):
        return sum(self.allgather(x))

    def max(self, x):
        return np.maximum.reduce(self.allgather(x))

    def allgather(self, x):
        return self.raw.allgather(x)

    def broadcast(self, x, root=0):
        return self.raw.bcast(x, root)

    def barrier(self):
        self.raw.Barrier()

    def agree(self, error):
        raise_first(self.raw.allgather(error))


@dataclass
class State:
    w: Replicated  # (2, 16)
    table: Sharded  # (n, 3)
    private: PerRank  # (4,)


def shard_of(comm):
    start, stop = block(TOTAL, comm.size, comm.rank)
    order = np.random.default_rng([comm.rank, comm.size]).permutation(stop - start)
    n = stop - start
    return Shard(DenseRows(np.zeros((n, 8))), np.zeros(n), np.ones(n), order, start, TOTAL, features=8)


def state_of(k, comm, shard):
    position = shard.start + shard.order
    table = np.sin(position[:, None] + np.arange(3) + 0.1 * k)
    return State(np.cos(np.arange(32.0) + k).reshape(2, 16), table, np.full(4, 100.0 * comm.rank + k))


def save(comm, folder, form, first, last):
    shard = shard_of(comm)
    checkpoints = Checkpoints(folder, comm, form)
    for k in range(int(first), int(last) + 1):
        checkpoints.save(k, state_of(k, comm, shard), shard, {"job": JOB, "k": k})
        if comm.rank == 0:
            print("saved", k, flush=True)


def load(comm, folder):
    shard = shard_of(comm)
    got = state_of(-1, comm, shard)
    loaded = Checkpoints(folder, comm).load(got, shard, JOB)
    if loaded is None:
        raise ValueError("there is no checkpoint")
    want = state_of(loaded.k, comm, shard)
    np.testing.assert_array_equal(got.w, want.w)
    np.testing.assert_array_equal(got.table, want.table)
    if loaded.same_ranks:
        np.testing.assert_array_equal(got.private, want.private)
    if comm.rank == 0:
        print("loaded", loaded.k, "same" if loaded.same_ranks else "other", *loaded.notes, flush=True)


if __name__ == "__main__":
    {"save": save, "load": load}[sys.argv[1]](Ranks(MPI.COMM_WORLD), *sys.argv[2:])
