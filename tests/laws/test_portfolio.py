"""`auto`: F never rises, all ranks decide alike, a resumed run goes on with the same algorithm and the same bits."""

import numpy as np
import pytest

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.cost_model import Size
from mpiopt.algorithms.portfolio import EVENT, Portfolio, course
from mpiopt.algorithms.second_order.lbfgs import Lbfgs
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import Clock, Event, HistoryRow
from mpiopt.resilience.checkpoint.store import Checkpoints
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.fit import fit
from mpiopt.training.loop import run
from mpiopt.training.problem import measure
from mpiopt.training.run_state import RunPlan
from tests.cases.problems import objective
from tests.cases.small_sets import small_sets

SIZES = (1, 2, 3, 5)
ROUNDING = 1e-12  # relative
CASES = ("nearly separable", "ill-conditioned", "raw counts", "short rows, l1", "lasso", "huber", "classes, l1")


@pytest.mark.parametrize("name", CASES)
def test_f_never_rises_and_all_ranks_decide_alike(name):
    made = small_sets()[name]()
    n = made.x.shape[0]
    for size in SIZES if name == "nearly separable" else (2,):

        def main(comm, size=size):
            mine = slice(comm.rank * n // size, (comm.rank + 1) * n // size)
            return fit(made.x[mine], made.y[mine], comm, tol=1e-9, **made.model)

        fits = spmd(size, main)
        values = [row.objective for row in fits[0].history]
        assert np.diff(values).max() <= ROUNDING * abs(values[0])
        assert fits[0].certified
        assert [event.kind for event in fits[0].events] == [EVENT] * len(fits[0].events)
        for other in fits[1:]:
            assert [event[1:] for event in other.events] == [event[1:] for event in fits[0].events]
            assert other.coef.tobytes() == fits[0].coef.tobytes()


ORDER = ("lbfgs", "newton-cg", "saga", "newton")  # two of them have fields of the rows


@pytest.fixture
def in_turn(monkeypatch):
    """Let another algorithm go on after every evaluation."""

    def following(self, rows, events):
        return self.named(ORDER[sum(event.kind == EVENT for event in events) % len(ORDER)])

    monkeypatch.setattr(Portfolio, "next", following)


def trained(comm, folder, form, rounds, resume, order=ORDER):
    """Train until certified, or for so many epochs, with a checkpoint in every round."""
    target = objective("logistic", 0.0, 1e-3, form, comm)
    portfolio = Portfolio(tuple(Algorithm.make(name) for name in order), measure(target, 1e-10, comm))
    stopping, store = Stopping(tol=1e-10, max_epochs=rounds), Checkpoints(folder, comm)
    plan = RunPlan(stopping, store, {"job": ""}, save_every=("rounds", 1), resume=resume)
    return run(plan, target, portfolio, Channel(comm, seed=3), StopSignal(), Clock(), lambda row: None)


def course_of(now):
    return [(event.round, event.text) for event in now.events if event.kind == EVENT]


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_a_run_resumed_between_changes_has_the_same_bits(tmp_path, form, in_turn):
    whole = spmd(2, lambda comm: trained(comm, tmp_path / "whole", form, 1e9, False))[0]
    assert len(course_of(whole)) >= 3
    for budget in (2.5, 4.5, 7.5):
        folder = tmp_path / f"part-{budget}"
        stopped = spmd(2, lambda comm, f=folder, b=budget: trained(comm, f, form, b, False))[0]
        assert stopped.ending == "budget"
        resumed = spmd(2, lambda comm, f=folder: trained(comm, f, form, 1e9, True))[0]
        assert resumed.ending == "certified"
        assert course_of(resumed) == course_of(whole)
        assert resumed.algorithm == whole.algorithm
        assert resumed.state.w.tobytes() == whole.state.w.tobytes()


def test_a_run_resumed_on_more_ranks_goes_on_with_the_algorithm_of_the_checkpoint(tmp_path, in_turn):
    before = spmd(2, lambda comm: trained(comm, tmp_path, "dense", 4.5, False))[0]
    other_guess = ORDER[::-1]
    after = spmd(3, lambda comm: trained(comm, tmp_path, "dense", 1e9, True, other_guess))[0]
    assert course_of(after)[: len(course_of(before))] == course_of(before)
    assert after.ending == "certified"


@pytest.mark.parametrize("first", ["newton", "lbfgs", "newton-cg", "saga", "working-set"])
def test_each_algorithm_goes_on_from_a_model_and_stays_below_it(first):
    l1 = 0.01 if first == "working-set" else 0.0

    def main(comm):
        target, channel = objective("logistic", l1, 1e-3, "dense", comm), Channel(comm, seed=3)
        before = Lbfgs()
        state = before.init(target, channel)
        for k in range(3):
            info = before.step(k, state, target, channel)
        algorithm = Algorithm.make(first)
        going = algorithm.go_on(state.w.copy(), info.exact, target, channel)
        assert np.array_equal(going.w, state.w)
        values = [info.exact.value]
        for k in range(8):
            exact = algorithm.step(k, going, target, channel).exact
            values += [exact.value] if exact is not None else []
        return values

    for size in (1, 3):
        values = spmd(size, main)[0]
        assert np.diff(values).max() <= ROUNDING * values[0]


def test_an_algorithm_of_a_graph_cannot_go_on():
    with pytest.raises(ValueError, match="dgd begins at its own start only"):
        Algorithm.make("dgd").go_on(np.zeros((1, 8)), None, None, None)


# ---- The judgement

SIZE = Size(20000, 100, 1, 2_000_000, False, 1, 1e-6, False, True)
TWO = Portfolio((Algorithm.make("lbfgs"), Algorithm.make("newton")), SIZE)


def rows_of(certificates, epochs=1.0):
    return [
        HistoryRow(k, epochs * k, 0.0, 0.0, 0.0, 0.0, 0, 0, 1.0, certificate, 1.0)
        for k, certificate in enumerate(certificates)
    ]


def begun(name, k=0):
    return Event(0.0, k, EVENT, -1, f"{name}: 1 epochs expected")


def test_it_stays_while_progress_is_as_expected():
    rows = rows_of(10.0 ** -np.arange(6.0))
    assert TWO.next(rows, [begun("lbfgs")]) is None


def test_it_changes_when_progress_is_behind_but_not_before_there_was_a_chance():
    slow = rows_of(10.0 ** (-0.05 * np.arange(12.0)))
    assert TWO.next(slow, [begun("lbfgs")]).name == "newton"
    assert TWO.next(slow[:2], [begun("lbfgs")]) is None


def test_it_comes_back_to_what_was_faster():
    fast = list(10.0 ** (-0.1 * np.arange(11.0)))
    rows = rows_of(fast + [fast[-1]] * 60)
    events = [begun("lbfgs"), begun("newton", 10)]
    assert TWO.next(rows, events).name == "lbfgs"
    assert TWO.current(events).name == "newton"


def test_where_nothing_gains_newton_goes_on_again():
    events = [begun("newton"), begun("lbfgs", 60)]
    assert TWO.next(rows_of([1e6] * 200), events).name == "newton"


@pytest.mark.parametrize(("unknowns", "stays"), [(40_000, True), (1000, False)])
def test_where_conjugate_gradients_are_slow_by_the_condition_others_would_be_too(unknowns, stays):
    size = Size(4000, unknowns, 1, 250_000, True, 1, 1e-6, False, True, condition=1e4)
    portfolio = Portfolio(tuple(Algorithm.make(name) for name in ("newton-cg", "lbfgs", "saga")), size)
    rows, events = rows_of(1e4 * 0.6 ** np.arange(12.0), epochs=20.0), [begun("newton-cg")]
    chosen = portfolio.next(rows, events)
    assert (chosen is None) == stays


def test_certificates_that_are_not_finite_are_no_progress():
    rows = rows_of([np.inf] * 60)
    assert TWO.next(rows, [begun("lbfgs")]).name == "newton"


def test_a_costly_start_of_newton_is_not_taken_for_its_pace():
    rows, events = rows_of([1e3] * 12, epochs=10.0), [begun("newton")]
    assert TWO.next(rows[:4], events) is None
    assert TWO.next(rows, events).name == "lbfgs"
    assert TWO.next(rows_of([1e3] * 4, epochs=60.0), events).name == "lbfgs", "it took much longer than expected"
    assert TWO.next(rows_of([1e3] * 2, epochs=240.0), events) is None, "one round says nothing of the next"


def test_one_algorithm_stays():
    alone = Portfolio((Algorithm.make("lbfgs"),))
    assert alone.next(rows_of([1.0] * 50), []) is None
    assert alone.current([]).name == "lbfgs"


def test_the_course_is_told_in_one_line():
    rows = rows_of([1.0] * 21)
    assert course(rows, [begun("lbfgs"), begun("newton", 13)]) == (
        "lbfgs 13 epochs (1 expected), then newton 7 epochs (1 expected)"
    )
    assert course(rows, []) == ""
