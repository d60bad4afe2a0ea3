"""Work between whose pieces an exchange under way is polled: when it is polled, and that nothing else changes."""

import numpy as np
import pytest

from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.threads import single
from mpiopt.compress.channel import Channel
from mpiopt.kernels import polling
from mpiopt.kernels.polling import PAUSE, paced
from tests.cases.problems import objective


class Clock:
    """Time that passes as a step takes it."""

    def __init__(self, each):
        self.each, self.now, self.polls = each, 0.0, []

    def work(self, steps, busy=lambda: True):
        """Walk through the pieces; `busy` says whether the exchange is still under way when polled."""

        def poll():
            self.polls.append(self.now)
            return not busy()

        pieces = []
        for piece in paced(steps, poll, lambda: self.now):
            pieces.append(piece)
            self.now += self.each * len(piece)
        return pieces


@pytest.mark.parametrize("each", [1e-9, 1e-6, PAUSE / 3, 10 * PAUSE])
@pytest.mark.parametrize("count", [0, 1, 7, 5000])
def test_pieces_put_together_are_the_work_and_a_poll_follows_each(each, count):
    steps, clock = np.random.default_rng(0).permutation(count), Clock(each)
    pieces = clock.work(steps)
    np.testing.assert_array_equal(np.concatenate([steps[:0], *pieces]), steps)
    assert len(clock.polls) == len(pieces)
    assert all(len(piece) for piece in pieces)


def test_polls_come_as_often_as_time_wants_whatever_a_step_takes():
    for each in (1e-7, 1e-5, 1e-3):
        clock = Clock(each)
        clock.work(np.arange(100_000))
        between = np.diff(clock.polls)[20:-1]  # the length of a piece has settled by then
        assert between.max() < max(2.0 * PAUSE, 1.5 * each)
        assert between.min() > 0.3 * PAUSE


def test_when_the_exchange_is_done_the_rest_is_one_piece():
    clock = Clock(1e-6)
    pieces = clock.work(np.arange(50_000), busy=lambda: len(clock.polls) < 5)
    assert len(clock.polls) == 5
    assert len(pieces) == 6
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
def test_the_kernels_are_polled_between_pieces_and_the_bits_are_those_of_the_whole(options, form, monkeypatch):
    monkeypatch.setattr(polling, "PAUSE", 0.0)
    polls = []

    def poll():
        polls.append(len(polls))
        return False

    assert run(options, form, poll) == run(options, form, None)
    assert len(polls) >= 2 * 160 / 8 if options["preconditioner"] == "none" else len(polls) > 4
