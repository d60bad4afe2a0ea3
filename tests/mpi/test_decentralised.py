"""Algorithms along graphs over MPI: the same bits and counts as over threads."""

import pytest

from tests.cases.decentralised import TEXTS, followed

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("text", TEXTS)
def test_over_mpi_it_is_the_run_over_threads(comm, text, on_threads):
    assert followed(comm, text) == on_threads(lambda threads: followed(threads, text))
