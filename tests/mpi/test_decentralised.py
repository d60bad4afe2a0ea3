"""Algorithms along graphs over MPI: the same bits and counts as over threads."""

import pytest

from mpiopt.comm.threads import spmd
from tests.cases.decentralised import TEXTS, followed

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("text", TEXTS)
def test_over_mpi_it_is_the_run_over_threads(comm, text):
    assert followed(comm, text) == spmd(comm.size, lambda threads: followed(threads, text))[comm.rank]
