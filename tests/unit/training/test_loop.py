"""The loop of a run, with an algorithm that does what a test says."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from mpiopt.algorithms.base import StepInfo
from mpiopt.algorithms.second_order.lbfgs import Lbfgs
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import Clock
from mpiopt.core.state import Replicated, pack, unpack
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.loop import run, stalled
from mpiopt.training.run_state import RunPlan
from tests.cases.problems import objective

PLAIN = Lbfgs(sampled=False)


class Kept:
    """A store in memory."""

    def __init__(self):
        self.saves = []

    def save(self, k, state, shard, meta):
        self.saves.append((k, pack(state), dict(meta)))

    def check(self):
        """Nobody takes this store over."""

    def load(self, blank, shard, job):
        if not self.saves:
            return None
        k, wire, meta = self.saves[-1]
        assert meta["job"] == job
        state = blank(meta)
        unpack(state, wire)
        return SimpleNamespace(k=k, meta=meta, state=state, same_ranks=True)


@dataclass
class Moved:
    w: Replicated


@dataclass
class Still:
    """Half an epoch a round; w stays, or is a function of the round."""

    w_of_round: object = None

    def run_channel(self, channel):
        return channel

    def init(self, objective, channel):
        return Moved(objective.zeros())

    def step(self, k, state, objective, channel):
        if self.w_of_round is not None:
            state.w[...] = self.w_of_round(k)
        return StepInfo(0.5, 1.0)


def go(algorithm, stopping, comm=None, stop=None, **plan):
    comm = comm or single()
    target, seen = objective("logistic", 0.0, 0.05, "dense", comm), []
    now = run(RunPlan(stopping, **plan), target, algorithm, Channel(comm), stop or StopSignal(), Clock(), seen.append)
    return now, seen


def test_it_ends_at_the_certificate_and_records_each_evaluation():
    now, seen = go(PLAIN, Stopping(tol=1e-8))
    assert now.ending == "certified"
    assert now.certificate.value <= 1e-8 < now.rows[-2].certificate
    assert seen == now.rows
    assert [row.round for row in now.rows] == list(range(now.round + 1))
    assert now.rows[-1].epoch == now.epochs


def test_it_evaluates_by_itself_every_second_epoch():
    now, _ = go(Still(lambda k: 1e-3 * k), Stopping(tol=1e-8, max_epochs=6))
    assert (now.ending, now.reason) == ("budget", "max_epochs 6 spent")
    assert [row.epoch for row in now.rows] == [0.0, 2.0, 4.0, 6.0]


def test_it_ends_where_rounding_is_reached():
    now, _ = go(Still(), Stopping(tol=1e-300))
    assert now.reason == "no progress in 12 evaluations"
    assert not stalled(now.rows[:5])


class Changing:
    """An algorithm whose model changes by itself on all ranks, to one where F is larger."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def step(self, k, state, objective, channel):
        step = self.inner.step(k, state, objective, channel)
        if k == 5:
            state.w *= 1.0 + 1e-2
        return step


@pytest.mark.parametrize("size", [1, 2])
def test_a_model_that_has_changed_is_evaluated_anew_where_no_step_is_below_the_old_value(size):
    endings = spmd(size, lambda comm: go(Changing(PLAIN), Stopping(tol=1e-10, max_epochs=2000.0), comm)[0])
    for now in endings:
        assert now.ending == "certified", now.reason
        assert [event.kind for event in now.events] == ["repaired"]


def test_seconds_are_a_budget():
    now, _ = go(Still(), Stopping(max_seconds=0.0))
    assert now.reason == "max_seconds 0 spent before the first round"


def test_an_objective_that_is_no_number_is_an_error_and_no_result():
    with pytest.raises(ValueError, match="the objective became nan in round 16: the steps are too long"):
        go(Still(lambda k: np.nan), Stopping())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_saves_come_by_rounds_and_a_run_goes_on_bitwise(size):
    def main(comm):
        limits, store = Stopping(tol=1e-13, max_epochs=9), Kept()
        identity = {"store": store, "meta": {"job": "this"}}
        cut, _ = go(PLAIN, limits, comm, save_every=("rounds", 3), **identity)
        assert [k for k, *_ in store.saves][:2] == [3, 6]
        assert store.saves[-1][0] == cut.round
        rest, seen = go(PLAIN, Stopping(tol=1e-13), comm, resume=True, **identity)
        whole, _ = go(PLAIN, Stopping(tol=1e-13), comm)
        assert rest.state.w.tobytes() == whole.state.w.tobytes()
        assert [r.objective for r in rest.rows] == [r.objective for r in whole.rows]
        assert seen == rest.rows[len(cut.rows) :]
        seconds = [r.seconds for r in rest.rows]
        return seconds == sorted(seconds)

    assert all(spmd(size, main))


def test_resume_without_a_checkpoint_starts():
    now, _ = go(PLAIN, Stopping(), resume=True, store=Kept(), meta={"job": "this"})
    assert now.ending == "certified"


class Full(Kept):
    """A store that cannot save for some tries."""

    def __init__(self, failures):
        super().__init__()
        self.failures, self.tries = failures, []

    def save(self, k, state, shard, meta):
        self.tries.append(k)
        if len(self.tries) <= self.failures:
            raise OSError("cannot write x.ckpt/000001.h5: No space left on device")


def test_a_checkpoint_that_cannot_be_written_is_tried_again_with_growing_pauses(caplog):
    store = Full(failures=3)
    now, _ = go(Still(lambda k: 0.01 * (k + 1)), Stopping(max_epochs=10.0), store=store, save_every=("rounds", 2.0))
    assert store.tries[:4] == [2, 3, 5, 9]
    assert now.ending == "budget"
    assert [event.kind for event in now.events] == ["unsaved"] * 3
    assert "no checkpoint: cannot write x.ckpt/000001.h5: No space left on device; the run goes on" in caplog.text
    assert "the next try is in 2 rounds" in caplog.text


def test_a_full_disk_ends_a_run_only_when_it_has_to_save_and_end():
    assert go(Still(), Stopping(max_epochs=3.0), store=Full(99), save_every=("rounds", 1.0))[0].ending == "budget"
    stop = StopSignal()

    def signalled(k):
        stop.level = 5
        return 0.01 * k

    with pytest.raises(OSError, match="No space left"):
        go(
            Still(signalled),
            Stopping(max_epochs=1e5, max_seconds=60.0),
            stop=stop,
            store=Full(99),
            save_every=("rounds", 1.0),
        )


def test_a_run_whose_folder_is_taken_over_ends():
    class Lost(Full):
        def check(self):
            raise OSError("another run has taken over x.ckpt")

    with pytest.raises(OSError, match="taken over"):
        go(Still(), Stopping(max_epochs=9.0), store=Lost(99), save_every=("rounds", 1.0))
