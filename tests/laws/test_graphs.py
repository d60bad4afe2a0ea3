"""Laws of messages along a graph, between threads that run at once and threads that take turns."""

import numpy as np
import pytest

from mpiopt.comm import lockstep, threads
from tests.cases.graphs import CASES, MISMATCHES, neighbours_of


@pytest.fixture(params=[threads.spmd, lockstep.spmd], ids=["threads", "lockstep"])
def spmd(request):
    return request.param


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_messages(case, size, spmd):
    spmd(size, case)


@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_a_mismatch_is_an_error_on_all_ranks(mismatch, spmd):
    def main(comm):
        _, neighbours = neighbours_of(comm, "complete")
        with pytest.raises(RuntimeError):
            MISMATCHES[mismatch](comm, neighbours)

    spmd(3, main)


def test_a_rank_that_leaves_ends_the_others(spmd):
    def main(comm):
        _, neighbours = neighbours_of(comm, "ring")
        for _ in range(3 if comm.rank == 1 else 5):
            neighbours.exchange(np.zeros(2))

    with pytest.raises(RuntimeError, match="return"):
        spmd(4, main)
