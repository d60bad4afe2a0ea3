"""A communicator of its own for each MPI test."""

import pytest


@pytest.fixture
def comm():
    """Return an MpiComm over all ranks."""
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    return MpiComm(MPI.COMM_WORLD.Dup())
