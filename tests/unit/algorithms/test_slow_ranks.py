"""One of four ranks is ten times slower: every exchange reaches the optimum; sync and overlap alone wait for it."""

import math
import time

import numpy as np
import pytest

from benchmarks.slow_ranks import slowed
from mpiopt.algorithms.saga.asynchronous import Background, Period
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.comm import lockstep
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.core.state import Layout, layouts
from mpiopt.objective.evaluation import evaluate_exact
from tests.cases.certified import relative_gap
from tests.cases.problems import objective as unequal
from tests.unit.algorithms.test_saga import made

# Seconds for a row on a rank that is not slowed: where all wait, it does not matter.
PACE = {"sync": 5e-6, "overlap": 5e-6, "timed": 5e-5, "async": 5e-5}
TOL = 1e-10


def certified(comm, saga, pace=None, rounds=400, **shape):
    """Run until the certificate is TOL; return it, the rows visited by each rank, and the state.

    A row takes `pace` seconds longer, ten times that on rank 0.
    """
    pace = PACE[saga.exchange] if pace is None else pace
    target, channel = made(comm, rows=1200, **shape), Channel(comm, seed=1)
    start = evaluate_exact(target, target.zeros(), channel)
    state, slowly = slowed(saga, target, channel, pace * (10.0 if comm.rank == 0 else 1.0))
    for k in range(rounds):
        progress = saga.step(k, state, slowly, channel)
        if progress.exact is None:
            continue
        here = evaluate_exact(target, state.w, channel)
        assert progress.exact.value == pytest.approx(here.value, rel=1e-12)
        np.testing.assert_allclose(progress.exact.gradient, here.gradient, atol=1e-12)
        found = relative_gap(target, state.w, here, start)
        if found <= TOL:
            break
    return found, [float(r[0]) for r in comm.allgather(state.work[:1])], state


@pytest.mark.parametrize("by_label", [False, True])
@pytest.mark.parametrize("preconditioner", ["full", "none"])
@pytest.mark.parametrize("exchange", ["sync", "overlap", "timed", "async"])
def test_every_exchange_certifies_the_optimum_with_a_slow_rank(exchange, preconditioner, by_label):
    saga = Saga(exchange=exchange, preconditioner=preconditioner)
    results = spmd(4, lambda c: certified(c, saga, by_label=by_label))
    assert all(found <= TOL for found, *_ in results)
    slow, *fast = results[0][1]
    if exchange in ("sync", "overlap"):
        assert fast == pytest.approx([slow] * 3, rel=0.01)  # the last block of an order may be shorter
    else:
        assert min(fast) > 1.5 * slow  # several times on an idle machine; others may take the processor
    states = [state for *_, state in results]
    for field, layout in layouts(states[0]).items():
        if layout is Layout.REPLICATED:
            assert all(getattr(s, field).tobytes() == getattr(states[0], field).tobytes() for s in states), field


def test_a_bound_on_staleness_holds_the_fast_ranks_back():
    free, bounded = (
        spmd(4, lambda c, s=staleness: certified(c, Saga(exchange="async", staleness=s), 2e-5))[0]
        for staleness in (0, 1)
    )
    assert bounded[0] <= TOL
    (slow, *fast), (held, *holding) = free[1], bounded[1]
    assert max(holding) / held < 0.5 * max(fast) / slow


@pytest.mark.parametrize(
    "saga",
    [
        Saga(exchange="timed"),
        Saga(exchange="timed", round_seconds=0.002),
        Saga(exchange="timed", local_steps=30),
        Saga(exchange="async"),
        Saga(exchange="async", staleness=1),
        Saga(exchange="async", local_steps=30),
    ],
    ids=lambda saga: f"{saga.exchange}-{saga.round_seconds:g}-{saga.staleness}-{saga.local_steps}",
)
def test_options_on_ranks_of_which_one_has_no_rows(saga):

    def main(comm):
        target, channel = unequal("logistic", 0.0, 0.05, "csr", comm), Channel(comm, seed=3)
        state = saga.init(target, channel)
        for k in range(400):
            exact = saga.step(k, state, target, channel).exact
            if exact is not None and np.linalg.norm(exact.gradient + target.ridge * state.w) < 1e-9:
                return True
        return False

    assert all(all(spmd(size, main)) for size in (1, 2, 5))


@pytest.mark.parametrize("preconditioner", ["full", "none"])
def test_timed_rounds_that_are_compressed_send_no_exact_model_and_reach_the_optimum(preconditioner):
    saga = Saga(exchange="timed", preconditioner=preconditioner, local_steps=30)

    def main(comm):
        target = made(comm, rows=1200)
        channel, exact = Channel(comm, 1, Compressor.make("quantised")), []
        state = saga.init(target, channel)
        channel.sum = lambda *parts: exact.append(sum(map(np.size, parts))) or Channel.sum(channel, *parts)
        for k in range(400):
            progress = saga.step(k, state, target, channel)
            if progress.exact is None:
                assert all(numbers <= comm.size + 1 for numbers in exact)
            elif (
                np.linalg.norm(evaluate_exact(target, state.w, Channel(comm)).gradient + target.ridge * state.w)
                < 1e-9
            ):
                return k
            exact.clear()
        return None

    assert all(k is not None for k in spmd(2, main))


@pytest.mark.parametrize("exchange", ["timed", "async"])
def test_l1_and_steps_that_are_much_too_long(exchange):
    for options, shape in (({}, {"l1": 0.01}), ({"preconditioner": "none", "step_size": 1e3}, {})):
        saga = Saga(exchange=exchange, **options)
        assert all(found <= TOL for found, *_ in spmd(3, lambda c, s=saga, p=shape: certified(c, s, 0.0, 2000, **p)))


def test_epochs_are_the_rows_visited_and_the_passes():
    def main(comm):
        target, channel = made(comm), Channel(comm, seed=1)
        saga = Saga(exchange="timed", warm_start=False, round_seconds=0.001)
        state, epochs = saga.init(target, channel), -1.0  # the pass at the start
        for k in range(30):
            progress = saga.step(k, state, target, channel)
            epochs += progress.epochs - (progress.exact is not None)
        return epochs, comm.sum(state.work[:1])[0] / target.shard.total

    for epochs, rows in spmd(3, main):
        assert epochs >= rows - 1e-9
        assert epochs - rows == pytest.approx(round(epochs - rows), abs=1e-9)  # whole passes: metrics, ways back


def test_ranks_that_take_turns_run_without_a_clock():
    """Where only one thread runs at a time, an asynchronous run is the same each time."""
    results = [lockstep.spmd(3, lambda c: certified(c, Saga(exchange="async"), 0.0)) for _ in range(2)]
    one, two = ([state.w.tobytes() for *_, state in result] for result in results)
    assert results[0][0][0] <= TOL
    assert one == two


def test_views_agree_when_all_messages_are_in_and_a_rank_that_does_not_read_gets_few():
    def main(comm):
        target, channel = made(comm), Channel(comm, seed=1)
        saga = Saga(exchange="async", warm_start=False)
        state = saga.init(target, channel)
        period = Period(0, state, target, channel)
        if comm.rank:
            for _ in range(8 * 20):
                period.work()
        period.end_round(window=math.inf)
        period.end()
        whole = comm.sum(state.own)
        np.testing.assert_allclose(period.state.average, whole, atol=1e-14)
        np.testing.assert_allclose(period.common, comm.broadcast(period.common), atol=1e-14)
        np.testing.assert_allclose(period.state.w, comm.sum(period.part * state.place[0]), atol=1e-14)
        assert (period.rounds == 1) if comm.rank == 0 else (period.rounds >= 21)
        return int(period.peers.sent[0])

    assert max(spmd(3, main)[1:]) <= TUNING.window + 1


def test_in_the_background_a_sum_is_a_sum_and_a_maximum_a_maximum():
    def main(comm):
        worked = []

        def work():
            worked.append(1)
            time.sleep(1e-3)

        channel = Background(Channel(comm), work)
        if comm.rank == 0:
            time.sleep(0.05)
        total = channel.sum(np.arange(3.0), 1.0)
        most = channel.max(np.array([float(comm.rank), -float(comm.rank), np.nan]))
        return total, most, len(worked)

    for rank, (total, most, worked) in enumerate(spmd(3, main)):
        np.testing.assert_array_equal(total, [0.0, 3.0, 6.0, 3.0])
        np.testing.assert_array_equal(most, [2.0, 0.0, np.nan])
        assert worked or not rank


@pytest.mark.parametrize("keeps", [{Layout.PER_RANK}, set()], ids=["same ranks", "other ranks"])
@pytest.mark.parametrize("exchange", ["timed", "async"])
def test_a_run_goes_on_from_what_was_saved(exchange, keeps):
    saga = Saga(exchange=exchange)

    def main(comm):
        target, channel = made(comm, rows=1200, by_label=True), Channel(comm, seed=1)
        start = evaluate_exact(target, target.zeros(), channel)
        state, other = saga.init(target, channel), saga.blank(target, comm.size)
        for k in range(3):
            saga.step(k, state, target, channel)
        for field, layout in layouts(state).items():
            if layout in {Layout.REPLICATED, Layout.SHARDED} | keeps:
                getattr(other, field)[...] = getattr(state, field)
        saga.rebuild(other, target, channel)
        for k in range(3, 100):
            exact = saga.step(k, other, target, channel).exact
            if exact is not None and relative_gap(target, other.w, exact, start) <= TOL:
                return True
        return False

    assert all(spmd(3, main))


def test_two_ranks_that_have_filled_their_windows_still_answer():
    def main(comm):
        target, channel = made(comm), Channel(comm, seed=1)
        period = Period(0, Saga(exchange="async", warm_start=False).init(target, channel), target, channel)
        for _ in range(TUNING.window):
            period.end_round()
        comm.barrier()
        period.receive(channel.receive_available())
        comm.barrier()
        period.end_round()
        return len(channel.drain())

    assert spmd(2, main) == [1, 1]
