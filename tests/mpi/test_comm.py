"""The communicator over MPI: the same cases as between threads, and the same bits."""

import gc
import time

import numpy as np
import pytest

from mpiopt.comm.base import Comm
from mpiopt.comm.reduction import SMALL
from tests.cases.comm import CASES, MISMATCHES, await_messages, vector

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_case(case, comm):
    assert isinstance(comm, Comm)
    case(comm)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_case_in_small_pieces(case, comm):
    from mpiopt.comm.mpi.comm import MpiComm

    case(MpiComm(comm.raw, piece=SMALL if "sum" in case.__name__ or "count" in case.__name__ else 40))


@pytest.mark.mpi(min_size=3)
@pytest.mark.parametrize(
    ("host", "piece"),
    [(lambda rank: rank // 2, 1 << 30), (lambda rank: min(rank, 1), SMALL), (lambda rank: rank % 2 * rank, SMALL)],
)
def test_sums_over_nodes_have_the_bits_of_flat_sums(host, piece, comm):
    """On made-up hosts; what is sent is received."""
    from mpiopt.comm.mpi.comm import MpiComm

    with MpiComm(comm.raw.Dup(), piece=piece, host=str(host(comm.rank))) as ours:
        assert (ours.nodes is not None) == (host(2) != 0)
        for case in CASES:
            if "sum" in case.__name__ or "received" in case.__name__:
                case(ours)
        assert everything(ours)[0] == everything(comm)[0]


def everything(comm):
    """Make many calls in a row; return their results as bytes, and the counters."""
    results = [comm.sum(vector(comm.rank, n)) for n in (1, 17, SMALL // 8, SMALL // 2 + 3)]
    results += [comm.start_sum(vector(comm.rank, n)).wait() for n in (3, SMALL + 1)]
    results += [comm.max(vector(comm.rank, 9))]
    results += comm.allgather(vector(comm.rank, comm.rank + 1))
    results += comm.alltoall([vector(comm.rank, r + 2 * comm.rank) for r in range(comm.size)])
    results += [comm.broadcast(vector(comm.rank, 5), comm.size - 1)]
    return [r.tobytes() for r in results], comm.bytes_sent, comm.bytes_received, comm.messages


def test_threads_give_the_same_bits_and_counts(comm, on_threads):
    assert everything(comm) == on_threads(everything)


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_mismatched_arrays_are_an_error_on_all_ranks(mismatch, comm):
    with pytest.raises(RuntimeError):
        MISMATCHES[mismatch](comm)
    comm.barrier()


@pytest.mark.mpi(min_size=2)
def test_the_callers_communicator_stays_free(comm):
    """Messages on the communicator that was duplicated do not meet ours."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    token = np.array([world.rank])
    request = world.Isend(token, (world.rank + 1) % world.size)
    comm.alltoall([np.arange(5.0)] * comm.size)
    got = np.empty_like(token)
    world.Recv(got, (world.rank - 1) % world.size)
    request.Wait()
    assert got[0] == (world.rank - 1) % world.size


@pytest.mark.mpi(min_size=2)
def test_messages_outlive_the_communicator_that_sent_them():
    """MPI reads a long message from the sender's memory, maybe long after `send`."""
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    n, rank, size = 200_000, MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
    kept = []
    for _ in range(5):
        comm = MpiComm(MPI.COMM_WORLD.Dup())
        comm.send(vector(rank, n // 8).view(np.uint8), (rank + 1) % size)
        if rank == 1:
            time.sleep(0.02)
        found = await_messages(comm, 1)[(rank - 1) % size]
        del comm
        gc.collect()
        kept += [np.full(n, 7, np.uint8) for _ in range(8)]  # takes the memory that is free
        assert found[0].tobytes() == vector((rank - 1) % size, n // 8).tobytes()


def test_free_finishes_what_is_under_way_and_frees_every_communicator(comm):
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    for _ in range(20):
        with MpiComm(comm.raw.Dup()) as ours:
            pending = ours.start_sum(vector(comm.rank, SMALL))
            ours.send(np.zeros(9, np.uint8), (comm.rank + 1) % comm.size)
            ours.graph([(comm.rank + 1) % comm.size] if comm.size > 1 else [])
            made = list(ours.communicators)
        assert len(made) == 4
        assert all(raw == MPI.COMM_NULL for raw in made)
        assert pending.poll()
        ours.free()  # a second time does nothing


def test_an_error_in_the_block_frees_the_communicators_without_waiting(comm):
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    ours = MpiComm(comm.raw.Dup())
    made = list(ours.communicators)
    with pytest.raises(ValueError, match="wrong"), ours:
        raise ValueError("wrong")
    assert all(raw == MPI.COMM_NULL for raw in made)
