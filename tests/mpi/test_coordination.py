"""Coordination along graphs over MPI: the cases of the threads, and the same bits."""

import numpy as np
import pytest

from tests.cases.coordination import CASES, COORDINATORS, made, numbers

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_coordination(case, comm):
    case(comm)


def everything(comm):
    """Means with every coordinator as bytes, with what they cost."""
    found = []
    for name in COORDINATORS:
        _, coordination = made(comm, name, "random-k")
        agreed = coordination.mean(numbers(comm.rank, 200))
        found.append((agreed.value.tobytes(), agreed[1:], coordination.spent))
    return found, comm.bytes_sent, comm.messages


def test_threads_give_the_same_bits_and_costs(comm, on_threads):
    assert everything(comm) == on_threads(everything)


@pytest.mark.mpi(min_size=2)
def test_a_rank_in_another_protocol_is_an_error(comm):
    _, coordination = made(comm, "finite-field", "complete")
    with pytest.raises(RuntimeError):
        coordination.max(np.ones(1)) if comm.rank else coordination.max(np.ones(1, np.float32))
    comm.barrier()
