"""Work in time slices with polls between them: when it polls, and that results do not change."""

import numpy as np
import pytest

from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.threads import single
from mpiopt.compress.channel import Channel
from mpiopt.kernels import polling
from mpiopt.kernels.polling import PAUSE, paced
from tests.cases.problems import objective


class Clock:
    """A clock that advances by a fixed time for each step."""

    def __init__(self, each):
        self.each, self.now, self.polls = each, 0.0, []

    def work(self, steps, busy=lambda: True):
        """Return the slices; `busy` tells whether the exchange is still under way at a poll."""

        def poll():
            self.polls.append(self.now)
            return not busy()

        slices = []
        for part in paced(steps, poll, lambda: self.now):
            slices.append(part)
            self.now += self.each * len(part)
        return slices


@pytest.mark.parametrize("each", [1e-9, 1e-6, PAUSE / 3, 10 * PAUSE])
@pytest.mark.parametrize("count", [0, 1, 7, 5000])
def test_the_slices_joined_are_the_work_and_a_poll_follows_each(each, count):
    steps, clock = np.random.default_rng(0).permutation(count), Clock(each)
    slices = clock.work(steps)
    np.testing.assert_array_equal(np.concatenate([steps[:0], *slices]), steps)
    assert len(clock.polls) == len(slices)
    assert all(len(part) for part in slices)


def test_the_time_between_polls_does_not_depend_on_the_time_of_a_step():
    for each in (1e-7, 1e-5, 1e-3):
        clock = Clock(each)
        clock.work(np.arange(100_000))
        between = np.diff(clock.polls)[20:-1]  # the length of a slice has settled by then
        assert between.max() < max(2.0 * PAUSE, 1.5 * each)
        assert between.min() > 0.3 * PAUSE


def test_after_the_exchange_the_rest_is_one_slice():
    clock = Clock(1e-6)
    slices = clock.work(np.arange(50_000), busy=lambda: len(clock.polls) < 5)
    assert len(clock.polls) == 5
    assert len(slices) == 6
    assert len(list(paced(np.arange(9), None))) == 1


def run(options, form, poll):
    target, channel = objective("logistic", 0.0, 1e-2, form, single()), Channel(single(), seed=3)
    algorithm = Saga(warm_start=False, **options)
    state = algorithm.init(target, channel)
    for _ in range(2):
        state.steps.run(state, target, channel, poll)
    return state.local.tobytes(), state.own.tobytes(), state.table.tobytes(), state.cursor.tobytes()


@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("options", [{"preconditioner": "none"}, {"preconditioner": "full"}], ids=str)
def test_kernels_in_slices_give_the_bits_of_one_call(options, form, monkeypatch):
    monkeypatch.setattr(polling, "PAUSE", 0.0)
    polls = []

    def poll():
        polls.append(len(polls))
        return False

    assert run(options, form, poll) == run(options, form, None)
    assert len(polls) >= 2 * 160 / 8 if options["preconditioner"] == "none" else len(polls) > 4
