"""Laws of the communicators of threads: all threads at once, and one thread at a time."""

import os
import threading
import time

import numpy as np
import pytest

from mpiopt.comm import debug, lockstep, threads
from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from tests.cases.comm import CASES, MISMATCHES


@pytest.fixture(params=[threads.spmd, lockstep.spmd], ids=["threads", "lockstep"])
def spmd(request):
    return request.param


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_case(case, size, spmd):
    spmd(size, case)


def test_threads_keep_the_protocol(spmd):
    assert all(spmd(2, lambda comm: isinstance(comm, Comm)))


@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_mismatched_arrays_are_an_error_on_all_ranks(mismatch, spmd):
    def main(comm):
        with pytest.raises(RuntimeError):
            MISMATCHES[mismatch](comm)

    spmd(3, main)


def test_mismatched_calls_are_an_error_on_all_ranks(spmd):
    def main(comm):
        with pytest.raises(RuntimeError, match="disagree on the collective call"):
            comm.barrier() if comm.rank == 1 else comm.sum(np.zeros(1))

    spmd(3, main)


def test_mismatched_shapes_of_a_sum_are_an_error(spmd):
    with pytest.raises(RuntimeError, match="disagree"):
        spmd(2, lambda comm: comm.sum(np.zeros(2 + comm.rank)))


def test_a_rank_that_returns_early_is_an_error_not_a_hang(spmd):
    with pytest.raises(RuntimeError, match="return"):
        spmd(3, lambda comm: None if comm.rank == 2 else comm.barrier())


def test_a_call_that_all_have_made_returns_on_all_whatever_one_does_next(spmd):
    for turn in range(50):
        got = []

        def main(comm, got=got, turn=turn):
            got.append(float(comm.sum(np.array([1.0]))[0]))
            if comm.rank == turn % 3:
                raise ValueError("after the sum")

        with pytest.raises(ValueError, match="after the sum"):
            spmd(3, main)
        assert got == [3.0] * 3


def test_the_error_of_the_lowest_rank_is_raised():
    both = threading.Barrier(2)

    def main(comm):
        both.wait()
        raise ValueError(f"from {comm.rank}")

    with pytest.raises(ValueError, match="from 0"):
        threads.spmd(2, main)


def test_an_error_on_one_rank_ends_the_others(spmd):
    def main(comm):
        if comm.rank == 1:
            raise ValueError("alone")
        comm.barrier()

    with pytest.raises(ValueError, match="alone"):
        spmd(3, main)


def test_the_channel_counts_what_the_communicator_counts(spmd):
    def main(comm):
        channel = Channel(comm)
        comm.barrier()
        comm.allgather(np.zeros(100))  # not through the channel
        channel.sum(np.zeros(4), 1.0)
        pending = channel.start_sum(np.zeros(5))
        assert channel.traffic.messages == 2 * (comm.size - 1)
        pending.wait()
        channel.max(3.0)
        assert channel.traffic.bytes_sent == 8 * (5 + 5 + 1) * (comm.size - 1)
        assert channel.traffic.seconds_communicate > 0

    spmd(3, main)


def test_ranks_that_take_turns_run_one_at_a_time():
    busy, most = set(), []

    def main(comm):
        for _ in range(50):
            busy.add(comm.rank)
            most.append(len(busy))
            time.sleep(1e-5)  # lets any other thread run that may
            busy.remove(comm.rank)
            comm.barrier()

    lockstep.spmd(3, main)
    assert max(most) == 1


@pytest.mark.skipif(debug.VARIABLE in os.environ, reason="with checks the longest wait is that of the variable")
def test_a_rank_that_never_comes_is_an_error_not_a_hang(spmd):
    def main(comm):
        if comm.rank == 1:
            time.sleep(0.5)
        comm.barrier()

    with pytest.raises(threading.BrokenBarrierError):
        spmd(2, main, timeout=0.1)
