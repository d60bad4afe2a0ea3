"""Exchange behind computation: rounds of saga whose sum is moved on between pieces of the local work."""

import numpy as np
import pytest

from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.nodes import pairwise
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.kernels import polling
from tests.cases.problems import objective

pytestmark = pytest.mark.mpi


class Watched:
    """A sum under way that notes what is done with it; it never says that it is done, so that all polls come."""

    def __init__(self, pending, notes):
        self.pending, self.notes = pending, notes

    def poll(self):
        self.notes.append("poll")
        self.pending.poll()
        return False

    def wait(self):
        self.notes.append("wait")
        return self.pending.wait()


class Watching(Channel):
    """A channel whose sums under way are watched."""

    def start_sum(self, *parts):
        self.notes = getattr(self, "notes", [])
        self.notes.append("start")
        return Watched(super().start_sum(*parts), self.notes)


def rounds(comm, options, count=4):
    """Run overlapped rounds; give the state's bytes and what was done with the sums."""
    target, channel = objective("logistic", 0.0, 1e-2, "csr", comm), Watching(comm, seed=3)
    algorithm = Saga(exchange="overlap", warm_start=False, refresh=0.0, **options)
    state = algorithm.init(target, channel)
    for k in range(count):
        algorithm.step(k, state, target, channel)
    return state.w.tobytes(), state.average.tobytes(), len(target.shard), channel.notes


@pytest.mark.parametrize(
    "options", [{"preconditioner": "none", "local_steps": 40}, {"preconditioner": "full"}], ids=str
)
def test_sums_are_polled_between_pieces_of_the_local_work_and_bits_do_not_depend_on_it(options, comm, monkeypatch):
    monkeypatch.setattr(polling, "PAUSE", 0.0)  # a poll after each step
    *state, rows, notes = rounds(comm, options)
    told = " ".join(notes).split("start")[1:]
    assert len(told) == 4
    assert all(round.split()[-1] == "wait" for round in told)
    assert all(round.count("poll") >= (2 if rows >= 40 else 0) for round in told)  # a rank may have few rows, or none
    assert tuple(state) == spmd(comm.size, lambda c: rounds(c, options))[0][:2]


@pytest.mark.mpi(min_size=2)
def test_a_large_sum_is_done_by_polls_alone(comm):
    """No wait is needed: what is polled long enough has finished, both stages of it."""
    x = np.random.default_rng(comm.rank).standard_normal(200_000)
    pending = comm.start_sum(x)
    while not pending.poll():
        pass
    whole = pairwise(np.add, [part[0] for part in comm.allgather(x[None, :])])
    assert np.array_equal(pending.wait(), whole)
