"""The passes over CSR rows equal plain numpy: lengths of rows, kinds of numbers, outputs, parts of larger arrays."""

import itertools

import numpy as np
import pytest

from mpiopt.comm.threads import single
from mpiopt.data.formats.base import open_source
from mpiopt.data.shard import CsrRows
from mpiopt.kernels import hessian_products
from mpiopt.objective import passes
from mpiopt.objective.losses.base import Loss

LENGTHS = {
    "every length": list(range(23)),
    "empty": [0, 0, 0],
    "none": [],
    "long": [0, 3, 1000, 999, 1, 0],
    "many short": [k % 7 for k in range(600)],  # more rows than a block has
}
OUTPUTS = [1, 2, 3, 4, 5, 8, 10, 12, 13, 23]
SPARE = 5  # numbers before and after the rows, as in a part of a larger set; nan where they must not count


def made(lengths, dtype, width=1001, spare=0):
    """Return rows of these lengths, and the same as a dense float64 matrix."""
    rng = np.random.default_rng(len(lengths))
    columns = [np.sort(rng.choice(width, k, replace=False)) for k in lengths]
    indptr = spare + np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = np.concatenate([np.zeros(spare), *columns, np.zeros(spare)]).astype(np.int32)
    values = np.concatenate([np.full(spare, np.nan), rng.standard_normal(sum(lengths)), np.full(spare, np.nan)])
    rows = CsrRows(indptr, indices, values.astype(dtype), width)
    x = np.zeros((len(lengths), width))
    for i, (first, end) in enumerate(itertools.pairwise(indptr)):
        x[i, indices[first:end]] = rows.values[first:end]
    return rows, x


def numbers(rows, outputs):
    """Return labels, weights and a model."""
    rng = np.random.default_rng(outputs)
    y = rng.integers(0, outputs, len(rows)).astype(np.float64) if outputs > 1 else rng.choice([-1.0, 1.0], len(rows))
    return y, rng.random(len(rows)) + 0.5, 0.3 * rng.standard_normal((outputs, rows.width))


@pytest.mark.parametrize("spare", [0, SPARE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", LENGTHS)
def test_the_passes_equal_plain_numpy(shape, dtype, spare):
    rows, x = made(LENGTHS[shape], dtype, spare=spare)
    for outputs in OUTPUTS:
        loss, (y, s, w) = Loss.make("softmax" if outputs > 1 else "logistic"), numbers(rows, outputs)
        close = dict(rtol=1e-11, atol=1e-12 * max(1.0, np.abs(x).sum()))
        z = x @ w.T
        slopes, table = s[:, None] * loss.slope(z, y), np.full((len(rows), outputs), np.nan)
        value, gradient = passes.value_and_gradient(rows, y, s, loss, w, table)
        assert value == pytest.approx(float(s @ loss.value(z, y)), rel=1e-12)
        np.testing.assert_allclose(table, slopes, **close)
        np.testing.assert_allclose(gradient, slopes.T @ x, **close)
        np.testing.assert_allclose(passes.margins(rows, w), z, **close)
        np.testing.assert_allclose(passes.weighted_row_sum(rows, table), slopes.T @ x, **close)
        again = passes.value_and_gradient(rows, y, s, loss, w, np.empty((0, outputs)))
        assert again[0] == value
        assert np.array_equal(again[1], gradient)


@pytest.mark.parametrize("shape", LENGTHS)
def test_a_product_of_the_hessian_equals_plain_numpy(shape):
    rows, x = made(LENGTHS[shape], np.float64, spare=SPARE)
    for outputs in OUTPUTS:
        _, c, p = numbers(rows, outputs)
        q = np.random.default_rng(3).dirichlet(np.ones(outputs), len(rows)) if outputs > 1 else np.empty((0, 1))
        z = x @ p.T
        bent = c[:, None] * (q * (z - (q * z).sum(axis=1, keepdims=True)) if outputs > 1 else z)
        table, total = np.full_like(z, np.nan), passes.zero_columns(*p.shape)
        hessian_products.product_csr(passes.arrays(rows), c, q, passes.by_column(p), total, table)
        np.testing.assert_allclose(table, z, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(passes.by_output(total, outputs), bent.T @ x, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("outputs", [1, 3, 10])
def test_what_is_not_finite_stays_in_its_rows_and_columns(outputs):
    rows, x = made([3, 2, 5, 4, 1], np.float64, width=30)
    _, _, w = numbers(rows, outputs)
    w[:, rows.indices[3]] = np.inf  # a column of the second row; the first row's last group reads it, too
    touched = x[:, rows.indices[3]] != 0
    assert np.array_equal(np.isfinite(passes.margins(rows, w)).all(axis=1), ~touched)
    table = np.ones((len(rows), outputs))
    table[1] = np.nan
    found = passes.weighted_row_sum(rows, table)
    assert np.array_equal(np.isnan(found).all(axis=0), x[1] != 0)


@pytest.mark.parametrize("made_up", ["n=300,d=7,density=0.6", "n=300,d=100,density=0.37", "n=50,d=60,density=0.1"])
def test_made_up_rows_hold_each_column_once(made_up):
    for piece in open_source(f"generate:{made_up},task=binary", "auto", None, single()).pieces(1 << 20):
        inside = np.ones(len(piece.rows.indices), np.bool_)
        inside[piece.rows.indptr[:-1]] = False
        assert (np.diff(piece.rows.indices, prepend=-1)[inside] > 0).all()
