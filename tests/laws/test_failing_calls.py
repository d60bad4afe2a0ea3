"""The k-th call of MPI fails on one rank, for every k: no rank waits, and the last checkpoint is whole."""

import itertools

import pytest

from mpiopt.comm import threads
from mpiopt.comm.threads import ThreadComm, spmd
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result
from mpiopt.training.train import train
from tests.laws.test_checkpoints import JOB, Table, shard_of, state_of
from tests.laws.test_failing_writes import FORMS, TOTAL, newest, open_store, save

CALLS = ("allgather", "broadcast", "sum", "agree")  # of which a save is made
ALGORITHMS = {  # and the call that fails in a round
    "saga[preconditioner=none,local_steps=50]": "sum",
    "saga[exchange=async]": "send",
    "lbfgs[sampled=false]": "allgather",
}


class MpiError(Exception):
    """What mpi4py raises."""


class FailingCall:
    """A method of the communicator of which the k-th call on one rank fails."""

    def __init__(self, monkeypatch, call, k, rank=1):
        self.seen, whole = 0, getattr(ThreadComm, call)

        def calling(comm, *rest):
            if comm.rank == rank:
                self.seen += 1
                if self.seen == k:
                    raise MpiError(f"MPI_ERR_OTHER in {call}")
            return whole(comm, *rest)

        monkeypatch.setattr(ThreadComm, call, calling)


def save_again(folder, form):
    def main(comm):
        shard, store = shard_of(comm, TOTAL), open_store(folder, comm, form)
        try:
            store.save(2, state_of(Table, comm, shard, 2), shard, {"job": JOB})
            store.finish()
        except BaseException:
            store.give_up()  # as the next attempt of a run does
            raise

    spmd(2, main, timeout=20.0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", CALLS)
def test_every_call_of_a_save_may_fail(tmp_path, form, call, monkeypatch):
    folder = tmp_path / "run.ckpt"
    save(folder, form, 1)
    for k in itertools.count(1):
        with monkeypatch.context() as patch:
            failing = FailingCall(patch, call, k)
            try:
                save_again(folder, form)
            except MpiError:
                assert failing.seen == k
            else:
                assert failing.seen < k, "an error was swallowed"
                break
        loaded = newest(folder)
        assert loaded.notes == ()
        assert loaded.k in (1, 2)  # the last call may come after the rename
    assert (newest(folder).k, newest(folder).notes) == (2, ())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_call_that_fails_in_a_round_ends_all_ranks_and_the_job_goes_on_from_its_checkpoint(
    tmp_path, algorithm, monkeypatch
):
    words = ["generate:n=200,d=4,condition=1e1,task=binary", "--algorithm", algorithm, "--l2", "0.01", "--quiet"]
    words += ["--tol", "1e-5", "--checkpoint-every", "1rounds", "--resume", "auto", "--out", str(tmp_path / "run.h5")]

    def run():
        return spmd(2, lambda comm: train(words, comm, StopSignal()), timeout=20.0)

    failed = 0
    for k in (3, 12, 40):
        with monkeypatch.context() as patch:
            failing = FailingCall(patch, ALGORITHMS[algorithm], k)
            try:
                run()
            except MpiError:
                failed += 1
            else:
                assert failing.seen < k, "an error was swallowed"
                break
    assert failed
    assert run() == [0, 0]
    assert read_result(tmp_path / "run.h5").history["certificate"][-1] <= 1e-5


def test_a_rank_that_swallows_an_error_would_be_found(monkeypatch):
    FailingCall(monkeypatch, "barrier", 1)

    def main(comm):
        try:
            comm.barrier()
        except MpiError:
            return

    with pytest.raises((RuntimeError, threads.threading.BrokenBarrierError)):
        spmd(2, main, timeout=1.0)
