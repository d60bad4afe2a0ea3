"""The SAGA kernels against the step in plain numpy: dense, CSR lazy (the same iterates), CSR sparse (in mean)."""

import numpy as np
import pytest

from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.data.shard import Shard
from mpiopt.kernels import permutations
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from tests.unit.objective.test_objective import csr, model, problem

STRENGTHS = [(0.0, 0.0), (0.0, 0.2), (0.05, 0.0), (0.05, 0.2), (3.0, 0.01)]


def textbook(objective, x, moves, w, average, table):
    """The step as the module's docstring has it, one block at a time."""
    y, s = objective.shard.label, objective.shard.weight
    for k in moves.starts:
        block = slice(k, min(k + moves.batch, len(x)))
        new = s[block, None] * objective.loss.slope(x[block] @ w.T, y[block])
        u = (new - table[block]).T @ x[block]
        table[block] = new
        moved = w - moves.step * (moves.innovation * u + average + objective.ridge * w)
        cut = moves.step * objective.threshold
        w[...] = np.sign(moved) * np.maximum(np.abs(moved) - cut, 0)
        average += moves.share * u


def start(objective, x):
    rng = np.random.default_rng(1)
    w = 0.1 * model(objective)
    table = 0.1 * rng.standard_normal((len(x), objective.outputs))
    return w, table.T @ x / max(len(x), 1) + 0.01 * rng.standard_normal(w.shape), table


def penalised(objective, l1, l2):
    penalty = Penalty.make("elastic-net", {"l1": l1, "l2": l2})
    return Objective(objective.loss, penalty, objective.shard, objective.classes)


def moves_for(n, width, batch, form="sparse", epochs=3):
    starts = np.concatenate([permutations.shuffled(n, batch, seed) for seed in range(epochs)])
    step = np.linspace(0.005, 0.02, width)
    return SagaCall(starts, step, 0.9 / batch, 1.0 / (2 * n + 1), batch, form)


def assert_same(objective, x, moves, rtol=1e-10):
    here, there = start(objective, x), start(objective, x)
    local_steps(objective, moves, *here)
    textbook(objective, x, moves, *there)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)


@pytest.fixture(params=sorted(Loss.known()))
def loss(request):
    return Loss.make(request.param)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 101])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [1, 5, 8])
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_kernels_make_the_textbook_steps(loss, form, batch, dtype, n):
    objective, x = problem(loss, n, form, dtype, features=21)
    assert_same(objective, x, moves_for(n, 24, batch, "lazy"))


@pytest.mark.parametrize("strengths", STRENGTHS)
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_every_penalty_is_applied(form, strengths):
    for name in ("logistic", "softmax", "squared"):
        objective, x = problem(Loss.make(name), 83, form, density=0.05, features=23)
        assert_same(penalised(objective, *strengths), x, moves_for(83, 24, 4, "lazy", 5))


def test_lazy_prox_follows_a_sign_change_and_a_stay_at_zero():
    """One column is met first and last only; between, its drift takes it through zero or to rest there."""
    x = np.zeros((400, 8))
    x[0, 0] = x[399, 0] = x[1:399, 1] = 1.0
    for drift in (-0.5, -0.1, 0.1, 0.5, 3.0):
        for l1, l2 in ((0.2, 0.0), (0.2, 0.5), (0.0, 0.5), (0.2, 99.0), (0.2, 130.0)):
            shard = Shard(csr(x), np.ones(400), np.ones(400), np.arange(400), 0, 400, 8)
            objective = penalised(Objective(Loss.make("logistic"), Penalty.make("none"), shard), l1, l2)
            moves = SagaCall(np.arange(400), np.full(8, 0.01), 1.0, 1 / 400, 1, "lazy")
            for w0 in (-1.0, 0.0, 0.3, 1.0):
                here, there = ([np.full((1, 8), w0), np.full((1, 8), drift), np.zeros((400, 1))] for _ in "ab")
                local_steps(objective, moves, *here)
                textbook(objective, x, moves, *there)
                np.testing.assert_allclose(here[0], there[0], rtol=1e-10, atol=1e-13)


def test_divergence_is_not_hidden(loss):
    for form in ("dense", "csr"):
        for kind in ("sparse", "lazy"):
            objective, x = problem(loss, 50, form, features=24)
            w, average, table = start(objective, x)
            w[0, :] = np.nan
            local_steps(objective, moves_for(50, 24, 8, kind), w, average, table)
            assert not np.isfinite(w).all()


def test_sparse_form_is_the_dense_step_in_expectation():
    """Mean over all first blocks, for a step so small that the implicit ridge is the explicit one."""
    for name, batch in (("logistic", 1), ("softmax", 1), ("squared", 1)):
        objective, x = problem(Loss.make(name), 60, "csr", features=24)
        moved = {"sparse": 0.0, "lazy": 0.0}
        for form in moved:
            for k in range(60):
                w, average, table = start(objective, x)
                before = w.copy()
                moves = SagaCall(np.array([k]), np.full(24, 1e-7), 0.7, 0.1, batch, form)
                local_steps(penalised(objective, 0.0, 0.3), moves, w, average, table)
                moved[form] = moved[form] + (w - before) / 60
        np.testing.assert_allclose(moved["sparse"], moved["lazy"], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("form", ["sparse", "lazy"])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.05), (0.01, 0.05), (0.01, 0.0)])
@pytest.mark.parametrize("batch", [1, 8])
def test_csr_forms_reach_the_optimum(form, l1, l2, batch):
    """SAGA on one rank: at the end the proximal gradient map is zero, for columns that no row has as well."""
    objective, x = problem(Loss.make("logistic"), 200, "csr", density=0.4, features=24)
    x[:, 5] = 0
    shard = Shard(csr(x), objective.shard.label, objective.shard.weight, np.arange(200), 0, 200, 23)
    objective = penalised(Objective(objective.loss, objective.penalty, shard), l1, l2)
    w, table = 0.1 * model(objective), np.empty((200, 1))
    average = objective.refresh(w, table)[1]
    step = np.full(24, 1.0 / objective.row_smoothness().max())
    for epoch in range(400):
        starts = permutations.shuffled(200, batch, epoch)
        local_steps(objective, SagaCall(starts, step, len(starts) / 200, 1 / 200, batch, form), w, average, table)
    gradient = objective.evaluate(w)[1]
    np.testing.assert_allclose(average, gradient, atol=1e-9)
    moved = w - gradient - objective.ridge * w
    fixed = np.sign(moved) * np.maximum(np.abs(moved) - objective.threshold, 0)
    np.testing.assert_allclose(w, fixed, atol=1e-9)


def test_calls_join_without_a_seam():
    for form in ("dense", "csr"):
        objective, x = problem(Loss.make("logistic"), 60, form, features=23)
        moves = moves_for(60, 24, 8, "lazy")
        whole, parts = start(objective, x), start(objective, x)
        local_steps(objective, moves, *whole)
        for starts in (moves.starts[:5], moves.starts[5:5], moves.starts[5:]):
            local_steps(objective, SagaCall(starts, moves.step, moves.innovation, moves.share, 8, "lazy"), *parts)
        for a, b in zip(whole, parts, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


def test_orders():
    for n in (0, 1, 7, 8, 9, 1000):
        assert sorted(permutations.shuffled(n, 8, 3)) == list(range(0, n, 8))
        assert (permutations.shuffled(n, 8, 3) == permutations.shuffled(n, 8, 3)).all()
    assert (permutations.shuffled(1000, 1, 3) != permutations.shuffled(1000, 1, 4)).any()
    first = np.bincount([permutations.shuffled(5, 1, seed)[0] for seed in range(5000)], minlength=5)
    assert (abs(first - 1000) < 150).all()  # five standard deviations
    counts = np.bincount(permutations.drawn(83, 8, 11000, 1) // 8, minlength=11)
    assert len(counts) == 11
    assert (abs(counts - 1000) < 160).all()


def test_bad_moves_are_refused():
    with pytest.raises(ValueError, match="batch must be 1 … 8, not 9"):
        SagaCall(np.arange(3), np.ones(8), 1.0, 1.0, 9)
    with pytest.raises(ValueError, match="form must be one of sparse, lazy, not 'csr'"):
        SagaCall(np.arange(3), np.ones(8), 1.0, 1.0, 8, "csr")


def test_what_does_not_fit_is_refused_before_a_kernel_sees_it():
    objective, x = problem(Loss.make("logistic"), 20)
    w, average, table = start(objective, x)
    for starts in ([-8], [0, 20]):
        with pytest.raises(ValueError, match=r"rows in 0 … 19"):
            local_steps(objective, SagaCall(np.array(starts), np.ones(24), 1.0, 1.0), w, average, table)
    with pytest.raises(ValueError, match="shapes of w, average, table, step"):
        local_steps(objective, SagaCall(np.array([0]), np.ones(24), 1.0, 1.0), w, average, table[:-1])
    with pytest.raises(ValueError, match="do not fit 20 rows of width 24"):
        objective.evaluate(w[:, :-1])
