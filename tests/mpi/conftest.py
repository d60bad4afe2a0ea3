"""A communicator of its own for each MPI test, and what threads do in place of the ranks."""

import time

import pytest

from mpiopt.comm.threads import spmd


@pytest.fixture
def comm():
    """Return an MpiComm over all ranks, with checks of every call where the environment asks for them.

    Its sums know of no hosts: on any machine they send what threads count. `test_comm.py` makes hosts up.
    """
    from mpi4py import MPI

    from mpiopt.comm.debug import debugged
    from mpiopt.comm.mpi.comm import MpiComm

    return debugged(MpiComm(MPI.COMM_WORLD.Dup(), host=""))


@pytest.fixture
def on_threads(comm):
    """Return a function that runs a program on as many threads of rank 0, and gives each rank its thread's result.

    The other ranks sleep: if each ran the threads, there would be size² of them.
    """

    def run(main):
        found = spmd(comm.size, main) if comm.rank == 0 else None
        done = comm.raw.Ibarrier()
        while not done.Test():
            time.sleep(0.002)
        return comm.raw.scatter(found)

    return run
