"""Laws of every algorithm, on 1, 2, 3 and 5 ranks with unequal shards."""

import copy
import functools

import numpy as np
import pytest

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.state import Layout, layouts, pack, unpack
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.training.problem import unmet
from tests.cases.problems import SIZES, objective

ALGORITHMS = sorted(Algorithm.known())
LOSSES = sorted(Loss.known())
PENALTIES = {"ridge": (0.0, 0.05), "elastic-net": (0.02, 0.05)}
LIMIT, BASELINE_LIMIT = 400, 2000  # rounds


def lacks(algorithm, loss, penalty):
    """Return what the algorithm needs and the problem does not have, or an empty string."""
    return spmd(1, lambda comm: unmet(algorithm.needs, objective(loss, *PENALTIES[penalty], "dense", comm)))[0]


def advance(algorithm, comm, loss, penalty, form, enough):
    """Run until `enough(k, value)`; return the state, the objective and the exact value."""
    target, channel = objective(loss, *PENALTIES[penalty], form, comm), Channel(comm, seed=3)
    state = algorithm.init(target, channel)
    for k in range(BASELINE_LIMIT if algorithm.baseline else LIMIT):
        algorithm.step(k, state, target, channel)
        value = evaluate_exact(target, state.w, channel).value
        if enough(k, value):
            break
    return state, target, value


@functools.cache
def optimum(loss, penalty):
    """Return F at 0 and at the optimum, after a check of the optimality conditions."""

    def main(comm):
        state, target, value = advance(Newton(), comm, loss, penalty, "dense", lambda k, value: k == 11)
        exact = evaluate_exact(target, state.w, Channel(comm))
        g = exact.gradient + target.ridge * state.w
        violation = np.where(
            state.w == 0, np.maximum(np.abs(g) - target.threshold, 0), np.abs(g + np.sign(state.w) * target.threshold)
        )
        assert violation.max() < 1e-10
        return evaluate_exact(target, target.zeros(), Channel(comm)).value, value

    return spmd(1, main)[0]


def pairs_of_algorithms_and_losses():
    """Return algorithm, loss, penalty and form: all for logistic; else each penalty and form once, in turns."""
    cases = []
    for i, name in enumerate(ALGORITHMS):
        for j, loss in enumerate(LOSSES):
            for k, penalty in enumerate(PENALTIES):
                forms = ("dense", "csr") if loss == "logistic" else (("dense", "csr")[(i + j + k) % 2],)
                cases += [(name, loss, penalty, form) for form in forms]
    return cases


@pytest.mark.parametrize(("name", "loss", "penalty", "form"), pairs_of_algorithms_and_losses())
def test_reaches_the_optimum(name, loss, penalty, form):
    algorithm = Algorithm.make(name)
    if lacks(algorithm, loss, penalty) or not algorithm.exact:
        pytest.skip(f"{name} needs a {lacks(algorithm, loss, penalty)}, or only comes near the optimum")
    start, best = optimum(loss, penalty)
    gap = 1e-9 * (start - best)
    for size in SIZES if loss == "logistic" else (2,):
        for *_, value in spmd(
            size, lambda c: advance(algorithm, c, loss, penalty, form, lambda k, v: v - best <= gap)
        ):
            assert -1e-12 * abs(best) <= value - best <= gap, f"{size} ranks"


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_answer_does_not_depend_on_the_number_of_ranks(name, penalty):
    algorithm = Algorithm.make(name)
    if lacks(algorithm, "logistic", penalty) or not algorithm.exact:
        pytest.skip(f"{name} needs a {lacks(algorithm, 'logistic', penalty)}, or only comes near the optimum")
    start, best = optimum("logistic", penalty)

    def main(comm):
        return advance(
            algorithm, comm, "logistic", penalty, "dense", lambda k, v: v - best <= 1e-12 * (start - best)
        )[0].w

    answers = [spmd(size, main)[0] for size in SIZES]
    for w in answers[1:]:
        np.testing.assert_allclose(w, answers[0], atol=2e-5)


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_replicated_fields_are_equal_on_all_ranks_bitwise(name, loss):
    algorithm = Algorithm.make(name)
    for size in SIZES:
        states = [
            s for s, *_ in spmd(size, lambda c: advance(algorithm, c, loss, "ridge", "csr", lambda k, v: k == 4))
        ]
        for field, layout in layouts(states[0]).items():
            if layout is Layout.REPLICATED:
                first = getattr(states[0], field).tobytes()
                assert all(getattr(s, field).tobytes() == first for s in states), field


@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_stopping_packing_and_going_on_is_the_same_as_not_stopping(name, penalty, form):
    algorithm = Algorithm.make(name)
    lacking = lacks(algorithm, "logistic", penalty)
    if lacking.startswith("smooth"):
        pytest.skip(f"{name} needs a {lacking}")

    def main(comm):
        target, channel = objective("logistic", *PENALTIES[penalty], form, comm), Channel(comm, seed=3)
        state = algorithm.init(target, channel)
        for k in range(3):
            algorithm.step(k, state, target, channel)
        other = algorithm.blank(target, comm.size)
        unpack(other, pack(state))
        again, channels = objective("logistic", *PENALTIES[penalty], form, comm), Channel(comm, seed=3)
        algorithm.rebuild(other, again, channels)
        for k in range(3, 6):
            algorithm.step(k, state, target, channel)
            algorithm.step(k, other, again, channels)
        return pack(state).tobytes() == pack(other).tobytes()

    for size in SIZES:
        assert all(spmd(size, main)), f"{size} ranks"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_step_touches_nothing_but_its_state(name):
    algorithm = Algorithm.make(name)
    before = copy.deepcopy(algorithm)

    def main(comm):  # rows, labels and weights of these problems are read-only
        target = objective("logistic", *PENALTIES["ridge"], "dense", comm)
        state, channel = algorithm.init(target, Channel(comm, seed=3)), Channel(comm, seed=3)
        shapes = {f: (getattr(state, f).shape, getattr(state, f).dtype) for f in layouts(state)}
        blank = algorithm.blank(target, comm.size)
        assert shapes == {f: (getattr(blank, f).shape, getattr(blank, f).dtype) for f in layouts(blank)}
        progress = algorithm.step(0, state, target, channel)
        assert shapes == {f: (getattr(state, f).shape, getattr(state, f).dtype) for f in layouts(state)}
        assert progress.epochs > 0
        if progress.exact is not None:
            exact = evaluate_exact(target, state.w, channel)
            assert progress.exact.value == pytest.approx(exact.value, rel=1e-12)
            np.testing.assert_allclose(progress.exact.gradient, exact.gradient, atol=1e-12)
        return True

    assert all(spmd(3, main))
    assert algorithm == before
