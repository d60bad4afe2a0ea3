"""A communicator of its own for each MPI test."""

import pytest


@pytest.fixture
def comm():
    """Return an MpiComm over all ranks, with checks of every call where the environment asks for them."""
    from mpi4py import MPI

    from mpiopt.comm.debug import debugged
    from mpiopt.comm.mpi.comm import MpiComm

    return debugged(MpiComm(MPI.COMM_WORLD.Dup()))
