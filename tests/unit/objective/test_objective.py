"""The passes over the rows against plain numpy: all losses, dense and CSR, float32 and float64, all tails."""

import functools

import numpy as np
import pytest

from mpiopt.comm.threads import single
from mpiopt.compress.channel import Channel
from mpiopt.data.shard import CsrRows, DenseRows, Shard
from mpiopt.objective.curvature import across_classes
from mpiopt.objective.curvature_root import curved_rows
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.passes import column_squares, squared_norms
from mpiopt.objective.penalties.base import Penalty
from mpiopt.objective.restriction import restrict
from mpiopt.objective.row_hessians import RowHessians
from tests.unit.objective.test_losses import labels

SIZES = [0, 1, 7, 8, 9, 1001]


def csr(x):
    row, column = np.nonzero(x)
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(x, axis=1))]).astype(np.int64)
    return CsrRows(indptr, column.astype(np.int32), x[row, column], x.shape[1])


def problem(loss, n, form="dense", dtype=np.float64, width=24, density=0.3, features=None):
    """Return an objective and its rows as a float64 matrix."""
    rng = np.random.default_rng([n, width])
    x = (rng.standard_normal((n, width)) * (rng.random((n, width)) < density)).astype(dtype)
    if n > 3:
        x[3] = 0  # an empty row
    rows = csr(x) if form == "csr" else DenseRows(x)
    y, s = labels(loss, n, 3), rng.random(n) + 0.5
    shard = Shard(rows, y, s, np.arange(n), 0, 2 * n + 1, features or width)
    return Objective(loss, Penalty.make("elastic-net", {"l1": 0.01, "l2": 0.1}), shard, classes=3), x.astype(
        np.float64
    )


def model(objective, scale=0.3):
    rng = np.random.default_rng(11)
    return scale * rng.standard_normal((objective.outputs, objective.width))


@pytest.fixture(params=sorted(Loss.known()))
def loss(request):
    return Loss.make(request.param)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_refresh_and_evaluate_against_numpy(loss, form, dtype, n):
    objective, x = problem(loss, n, form, dtype)
    w, table = model(objective), np.full((n, objective.outputs), np.nan)
    y, s, total = objective.shard.label, objective.shard.weight, objective.shard.total
    z = x @ w.T
    slopes = s[:, None] * loss.slope(z, y)
    value, gradient = objective.refresh(w, table)
    assert value == pytest.approx((s * loss.value(z, y)).sum() / total, rel=1e-12)
    np.testing.assert_allclose(gradient, slopes.T @ x / total, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(table, slopes, rtol=1e-11, atol=1e-13)
    again = objective.evaluate(w)
    assert again[0] == value
    assert (again[1] == gradient).all()


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_gradient_is_the_derivative(loss, form):
    objective, _ = problem(loss, 50, form)
    w, p = model(objective), model(objective, 1.0)[::-1]
    h = 1e-6
    difference = (objective.evaluate(w + h * p)[0] - objective.evaluate(w - h * p)[0]) / (2 * h)
    assert (objective.evaluate(w)[1] * p).sum() == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("form", "density"), [("dense", 0.3), ("csr", 0.5), ("csr", 0.05)])
def test_curvature_and_hessian_vector(loss, form, density, dtype, n):
    objective, x = problem(loss, n, form, dtype, density=density)
    w, p = model(objective), model(objective, 1.0)
    c = objective.shard.weight * loss.curvature(x @ w.T, objective.shard.label)
    hessian = (x * c[:, None]).T @ x / objective.shard.total
    assert objective.curvature(w).shape == (objective.width, objective.width)
    np.testing.assert_allclose(objective.curvature(w), hessian, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(objective.hessian_vector(c, p), p @ hessian, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_margins_norms_and_smoothness(loss, form, dtype, n):
    objective, x = problem(loss, n, form, dtype)
    w = model(objective)
    np.testing.assert_allclose(objective.predict(w), x @ w.T, rtol=1e-11, atol=1e-13)
    norms = (x**2).sum(axis=1)
    np.testing.assert_allclose(objective.row_norms(), norms, rtol=1e-12)
    column, c = np.arange(x.shape[1]) - 3.0, objective.shard.weight
    np.testing.assert_allclose(squared_norms(objective.shard.rows, column), x**2 @ column, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(column_squares(objective.shard.rows, c), c @ x**2, rtol=1e-12)
    stored = np.full(x.shape[1], n) if form == "dense" else np.count_nonzero(x, axis=0)
    assert objective.column_counts.tolist() == stored.tolist()
    if loss.curvature_bound is not None:
        expected = objective.shard.weight * loss.curvature_bound * norms
        np.testing.assert_allclose(objective.row_smoothness(), expected, rtol=1e-12)


def test_nan_and_inf_appear_in_the_sums(loss):
    objective, _ = problem(loss, 100)
    for bad in (np.nan, np.inf):
        w = functools.reduce(np.add, [model(objective), np.zeros(objective.width)])
        w[0, 3] = bad
        value, gradient = objective.evaluate(w)
        assert not np.isfinite(value)
        assert not np.isfinite(gradient).all()


def test_rows_may_be_read_only():
    objective, _ = problem(Loss.make("logistic"), 20)
    objective.shard.rows.values.flags.writeable = False
    objective.evaluate(objective.zeros())


def test_padding_and_intercept_are_not_penalised():
    objective, _ = problem(Loss.make("squared"), 9, features=21)
    assert objective.ridge.tolist() == [0.1] * 21 + [0.0] * 3
    assert objective.threshold.tolist() == [0.01] * 21 + [0.0] * 3
    w = model(objective)
    h = 0.01 * np.abs(w[:, :21]).sum() + 0.05 * (w[:, :21] ** 2).sum()
    assert objective.penalty_value(w) == pytest.approx(h, rel=1e-14)


def test_the_curvature_of_sure_rows_keeps_its_digits():
    # Margins 30 ahead: what 1 - p loses beside 1 would be a thousandth of p (1 - p), and the rest of it indefinite.
    x = np.array([[1.0, 2.0], [-3.0, 1.0]])
    shard = Shard(DenseRows(np.pad(x, [(0, 0), (0, 6)])), np.array([0.0, 2.0]), np.ones(2), np.arange(2), 0, 2, 2)
    objective = Objective(Loss.make("softmax"), Penalty.make("none"), shard, classes=3)
    w = np.zeros((3, 8))
    w[:, :2] = np.linalg.solve(x, [[30.0, 0.0, 1.0], [-1.0, 0.0, 30.0]]).T
    z = objective.predict(w).astype(np.longdouble)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    off = -p[:, :, None] * p[:, None, :] * (1 - np.eye(3))
    each = off - np.eye(3) * off.sum(axis=2, keepdims=True)
    expected = np.einsum("ncd,ni,nj->cidj", each, x, x).astype(float).reshape(6, 6) / 2
    margins = objective.predict(w)
    hessians = RowHessians.at(objective, margins)
    chosen = np.tile(np.arange(8) < 2, (3, 1))
    rows, _ = curved_rows(objective, margins, slice(0, 2), [x] * 3)
    found = {
        "whole": across_classes(objective, w),
        "restricted": restrict(objective, Channel(single()), w, chosen).curvature(margins, 0.0),
        "by a root": rows.T @ rows,
    }
    units = np.zeros((6, 3, 8))
    units[np.arange(6), np.arange(6) // 2, np.arange(6) % 2] = 1.0
    found["by products"] = np.stack([hessians.product(unit).share[:, :2].reshape(-1) for unit in units])
    for name, matrix in found.items():
        np.testing.assert_allclose(matrix, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(), err_msg=name)
    np.testing.assert_allclose(hessians.diagonal()[:, :2].reshape(-1), np.diag(expected), rtol=1e-9)
