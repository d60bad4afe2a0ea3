"""The interior-point method: it ends in few steps at a minimum that its own slopes prove, on any number of ranks."""

from fractions import Fraction

import numpy as np
import pytest

import mpiopt
from mpiopt.algorithms.second_order import newton
from mpiopt.algorithms.second_order.interior_point import ClippedProblem, minimise
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.partition import block
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.centred_columns import CentredColumns
from mpiopt.objective.curvature_root import ALONE
from mpiopt.objective.dual_point import bound_of_slopes
from mpiopt.objective.duality_gap import label_statistics
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.training.problem import penalty

CLIPPED = ("squared", "huber[delta=0.3]", "squared-hinge", "quantile[tau=0.2,width=0.1]")
N, D, WIDTH = 40, 6, 8


def loss_of(words):
    name, _, options = words.rstrip("]").partition("[")
    return Loss.make(name, {k: float(v) for k, v in (part.split("=") for part in options.split(",") if part)})


def posed(words, l1, l2, comm):
    """Return this rank's share of a problem whose columns differ in size, with an intercept."""
    rng = np.random.default_rng(1)
    x, mine = np.zeros((N, WIDTH)), slice(*block(N, comm.size, comm.rank))
    x[:, :D] = rng.normal(size=(N, D)) * 10.0 ** rng.integers(-3, 4, D)
    x[:, D] = 1.0
    y = x[:, 0] / np.abs(x[:, 0]).max() + rng.normal(size=N)
    loss = loss_of(words)
    y = np.sign(y) if loss.target == "binary" else y
    weight = np.where(np.arange(N) % 7 == 3, 0.0, 1.0)
    part = Shard(DenseRows(x[mine]), y[mine], weight[mine], np.arange(N)[mine], mine.start, N, D, True)
    return Objective(loss, penalty(l1, l2), part)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("words", CLIPPED)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 1e-3), (0.02, 0.0), (0.02, 1e-4)])
def test_its_slopes_prove_that_it_is_at_the_minimum(words, l1, l2, size):
    def run(comm):
        objective, channel = posed(words, l1, l2, comm), Channel(comm)
        found = minimise(newton.problem_of(objective), np.zeros(D + 1), 1.0, channel)
        w = objective.zeros()
        w[0, : D + 1] = found.w
        exact = evaluate_exact(objective, w, channel)
        labels = label_statistics(objective, channel)
        lower = bound_of_slopes(objective, w, exact, found.slopes[:, None], labels, channel)
        return exact.value, lower, found.steps, found.w.tobytes()

    found = spmd(size, run)
    value, lower, steps, _ = found[0]
    assert {one[3] for one in found} == {found[0][3]}
    assert steps <= 30
    assert 0.0 <= value - lower <= 1e-9 * value


@pytest.mark.parametrize("words", CLIPPED)
@pytest.mark.parametrize("seed", range(5))
def test_no_slopes_give_a_bound_above_the_minimum(words, seed):
    def run(comm):
        objective, channel = posed(words, 0.02, 1e-4, comm), Channel(comm)
        best = minimise(newton.problem_of(objective), np.zeros(D + 1), 1.0, channel)
        w = objective.zeros()
        w[0, : D + 1] = best.w
        value = evaluate_exact(objective, w, channel).value
        rng, line = np.random.default_rng(seed), objective.loss.clipped_line(objective.shard.label)
        slopes = best.slopes + rng.normal(size=len(best.slopes)) * 10.0 ** rng.uniform(-9, 1)
        slopes = np.clip(slopes, line.low, line.high)[:, None]
        v = objective.zeros()
        v[0, : D + 1] = rng.normal(size=D + 1)
        labels = label_statistics(objective, channel)
        return value, bound_of_slopes(objective, v, evaluate_exact(objective, v, channel), slopes, labels, channel)

    value, lower = spmd(1, run)[0]
    assert lower <= value * (1 + 1e-9)


@pytest.mark.parametrize("words", CLIPPED)
def test_a_clipped_line_is_the_slope_of_its_loss(words):
    rng, loss = np.random.default_rng(0), loss_of(words)
    z, y = 3.0 * rng.normal(size=200), np.sign(rng.normal(size=200))
    line = loss.clipped_line(y)
    slopes = np.clip(line.bend * (z - line.centre), line.low, line.high)
    np.testing.assert_allclose(loss.slope(z[:, None], y)[:, 0], slopes, atol=1e-13)


def test_a_loss_whose_slope_is_curved_has_no_line():
    lines = {name: Loss.make(name).clipped_line(np.ones(3)) for name in Loss.known()}
    assert {name for name, line in lines.items() if line is not None} == {
        words.partition("[")[0] for words in CLIPPED
    }


def test_a_quadratic_model_that_is_nearly_singular_is_minimised():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 4)) @ np.diag([1.0, 1e-6, 1.0, 1e-9]) @ rng.normal(size=(4, 12))
    line = Loss.make("squared").clipped_line(rng.normal(size=30))
    problem = ClippedProblem(rows, np.ones(30), line, np.zeros(12), np.full(12, 1e-3), np.zeros(12))
    found = minimise(problem, np.zeros(12), 1.0, ALONE)
    slopes = (rows @ found.w - line.centre) @ rows
    assert np.abs(slopes).max() <= 1e-3 * (1 + 1e-5)
    assert np.abs((slopes + 1e-3 * np.sign(found.w))[found.w != 0.0]).max(initial=0.0) <= 1e-8
    assert found.steps <= 30


@pytest.mark.parametrize("size", [1, 3])
def test_newton_calls_it_where_its_steps_are_short(size, monkeypatch):
    rng, calls = np.random.default_rng(4), []
    x = rng.normal(size=(20, 36)) * 10.0 ** rng.uniform(-9, 9, 36)
    y = np.sign(rng.normal(size=20))
    right = newton.minimise

    def counted(*arguments):
        calls.append(1)
        return right(*arguments)

    monkeypatch.setattr(newton, "minimise", counted)

    def fit(comm):
        mine = slice(*block(20, size, comm.rank))
        return mpiopt.fit(x[mine], y[mine], comm, loss="squared-hinge", l2="1/N", algorithm="newton", max_epochs=200)

    found = spmd(size, fit)[0]
    assert found.certified, found.reason
    assert calls


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("words", CLIPPED)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 1e-3), (1e-3, 1e-3), (1e-3, 0.0)])
def test_columns_at_1e12_without_an_intercept_are_certified(words, l1, l2, size):
    rng = np.random.default_rng(7)
    x = np.round(rng.normal(size=(30, 5)) * 1024) / 1024 + np.array([1e12, 3e9, 0.0, -2e11, 1e5])
    y = x[:, 2] + rng.normal(size=30)
    y = np.sign(y) if words == "squared-hinge" else y

    def fit(comm):
        mine = slice(*block(30, size, comm.rank))
        options = {"loss": words, "l1": l1, "l2": l2, "intercept": False, "algorithm": "newton", "max_epochs": 400}
        return mpiopt.fit(x[mine], y[mine], comm, **options)

    found = spmd(size, fit)[0]
    assert found.certified, found.reason


def test_weights_are_rounded_so_that_their_common_part_is_kept():
    far = np.array([1e12, 3e5, 0.0, -2e11])
    centred = CentredColumns(far)
    unknowns = np.array([0.7, 0.3, -0.2, 0.1])  # the first is Σ w c
    w = centred.weights(unknowns)
    common = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(w, far, strict=True))
    assert abs(float(common) - 0.7) < 1e-9
    np.testing.assert_allclose(w[1:], unknowns[1:], atol=1e-8)
    np.testing.assert_allclose(centred.unknowns(w)[0], float(common), rtol=1e-15)
