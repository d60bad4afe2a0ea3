"""Messages along a graph over MPI: the same cases as between threads, and the same bits and counts."""

import numpy as np
import pytest

from tests.cases.comm import vector
from tests.cases.graphs import CASES, MISMATCHES, NAMES, neighbours_of

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_messages(case, comm):
    case(comm)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_messages_in_small_pieces(case, comm):
    from mpiopt.comm.mpi.comm import MpiComm

    case(MpiComm(comm.raw, piece=40))


def everything(comm):
    """Messages on every topology as bytes."""
    results = []
    for name in NAMES:
        _, neighbours = neighbours_of(comm, name)
        for n in (1, 17, 100_000):
            results += [x.tobytes() for x in neighbours.exchange(vector(comm.rank, n)).values()]
        results += [x.tobytes() for x in neighbours.exchange_any(vector(comm.rank, comm.rank)).values()]
    return results, comm.bytes_sent, comm.messages


def test_threads_give_the_same_bits_and_counts(comm, on_threads):
    assert everything(comm) == on_threads(everything)


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_a_mismatch_is_an_error(mismatch, comm):
    _, neighbours = neighbours_of(comm, "complete")
    # Between ranks that are not the odd one nothing is wrong; each of those sees the odd one's message.
    with pytest.raises(RuntimeError):
        MISMATCHES[mismatch](comm, neighbours)
    comm.barrier()


@pytest.mark.mpi(min_size=2)
def test_a_message_that_never_comes_is_an_error_not_a_hang(comm):
    _, neighbours = neighbours_of(comm, "complete", timeout=0.2)
    if comm.rank:
        with pytest.raises(RuntimeError, match="has ended"):
            neighbours.exchange(np.zeros(3))
    comm.barrier()  # rank 0 sends when all others have given up, however long they were not scheduled
    if not comm.rank:
        neighbours.exchange(np.zeros(3))
    comm.barrier()
