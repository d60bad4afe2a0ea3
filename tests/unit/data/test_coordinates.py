"""Coordinates of columns: equal bits on any number of ranks, whatever the units, offsets and rare rows."""

import numpy as np
import pytest
import scipy.sparse as sp

from mpiopt.comm.threads import spmd
from mpiopt.core.partition import block
from mpiopt.data.coordinates import ALIKE, Coordinates, as_given, standardised
from mpiopt.data.shard import CsrRows, DenseRows
from mpiopt.results.model import in_file_units

SIZES = (1, 2, 3, 5)


def rows_of(x, sparse):
    if not sparse:
        return DenseRows(np.array(x))
    s = sp.csr_matrix(x)
    return CsrRows(s.indptr.astype(np.int64), s.indices.astype(np.int32), s.data.copy(), x.shape[1])


def dense(rows):
    if isinstance(rows, DenseRows):
        return rows.values
    return sp.csr_matrix((rows.values, rows.indices, rows.indptr), shape=(len(rows), rows.width)).toarray()


def found(x, weight=None, sparse=False, intercept=True, size=1):
    """The coordinates, and all rows in them."""
    weight = np.ones(len(x)) if weight is None else weight

    def main(comm):
        mine = slice(*block(len(x), size, comm.rank))
        rows = rows_of(x[mine], sparse)
        where = standardised(rows, weight[mine], x.shape[1], intercept, comm)
        return where, dense(where.move(rows))

    parts = spmd(size, main)
    return parts[0][0], np.concatenate([rows for _, rows in parts])


@pytest.fixture
def x():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 5)) + np.array([0.0, 1e3, -2.0, 0.0, 0.0])
    x[:, 3:] *= rng.random((60, 2)) < 0.3
    return x


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_the_bits_do_not_depend_on_the_number_of_ranks(x, sparse, intercept):
    weight = np.random.default_rng(1).uniform(0, 2, len(x))
    where, rows = found(x, weight, sparse, intercept)
    for size in SIZES[1:]:
        other, same = found(x, weight, sparse, intercept, size)
        assert np.array_equal(other.centre, where.centre)
        assert np.array_equal(other.scale, where.scale)
        assert np.array_equal(same, rows)


@pytest.mark.parametrize("unit", [1e-300, 1e-100, 1e-9, 1e9, 1e100, 1e300])
def test_a_unit_of_a_dense_column_does_not_matter(x, unit):
    rows = found(x)[1]
    other = found(x * [1.0, 1.0, unit, 1.0, 1.0])[1]
    if 1e-30 < unit < 1e30:
        assert np.allclose(other, rows, rtol=1e-6, atol=1e-12)
    assert np.isfinite(other).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_an_offset_does_not_matter(x, sparse):
    x[:, 0] = (x[:, 0] + 1e12) - 1e12
    x[:, 0] += (x[:, 0] == 0) * 1.0
    rows = found(x, sparse=sparse)[1]
    other = found(x + np.array([1e12, 0, 0, 0, 0]), sparse=sparse)[1]
    assert np.abs(other - rows).max() < 1e-3  # the centre is rounded to 1e-4


def test_the_centre_is_the_weighted_mean_and_rows_without_weight_do_not_count(x):
    weight = np.random.default_rng(1).uniform(0, 2, len(x))
    weight[7] = 0.0
    where, _ = found(x, weight)
    np.testing.assert_allclose(where.centre, np.average(x, axis=0, weights=weight), rtol=1e-12, atol=1e-12)
    m4 = np.average((x - where.centre) ** 4, axis=0, weights=weight)
    m2 = np.average((x - where.centre) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(where.scale, np.sqrt(m4 / m2), rtol=1e-6)
    x[7] = 1e30
    other = found(x, weight)[0]
    assert np.array_equal(other.centre, where.centre)
    assert np.array_equal(other.scale, where.scale)


def test_a_rare_column_of_ones_keeps_its_scale():
    x = np.zeros((1000, 2))
    x[:2, 0], x[:500, 1] = 1.0, 1.0
    assert found(x, sparse=True)[0].scale.tolist() == [1.0, 1.0]
    assert found(x)[0].scale[0] == pytest.approx(1.0, rel=0.01)


def test_a_constant_column_becomes_zeros_with_an_intercept_and_stays_without():
    x = np.column_stack([np.full(9, 0.1), np.arange(9.0), np.zeros(9)])
    where, rows = found(x)
    assert not rows[:, [0, 2]].any()
    assert where.centre[0] == 0.1
    where, rows = found(x, intercept=False)
    assert not where.centre.any()
    np.testing.assert_allclose(rows[:, 0], 1.0, rtol=1e-6)


def test_sparse_columns_of_like_size_share_a_scale():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.0, size=(200, 6)) * (rng.random((200, 6)) < 0.5)
    common = found(x * [1, 1, 1, 1, ALIKE / 2, 1e9], sparse=True, intercept=False)[0].scale
    assert len(set(common[:5])) == 1
    assert common[5] > 1e8


def test_sparse_rows_that_lack_a_centred_column_get_its_entry(x):
    where, _ = found(x, sparse=True)
    assert np.flatnonzero(where.centre).tolist() == [0, 1, 2]
    x[4, :3], x[5] = 0.0, 0.0
    moved = dense(where.move(rows_of(x, True)))
    np.testing.assert_allclose(moved, (x - where.centre) / where.scale, rtol=1e-15)


def test_no_rows_and_no_columns_are_allowed(x):
    assert len(found(x[:2], size=3)[1]) == 2
    assert found(np.zeros((3, 0)))[0].scale.size == 0
    assert found(np.zeros((3, 2)), sparse=True)[0].scale.tolist() == [1.0, 1.0]


def test_float32_rows_are_centred_before_they_are_rounded():
    values = np.array([[16777216.0], [16777218.0]], np.float32)
    moved = Coordinates(np.array([16777217.0]), np.array([1.0])).move(DenseRows(values)).values
    assert moved.tolist() == [[-1.0], [1.0]]


@pytest.mark.parametrize("sparse", [False, True])
def test_a_model_predicts_far_from_zero_what_training_saw(x, sparse):
    x[:, 0] += 1e12
    where, rows = found(x, sparse=sparse)
    w = np.array([[3.0, -1.0, 2.0, 0.5, 1.0, 0.25]])
    model = in_file_units(w, 5, True, np.zeros(5), np.ones(5), where)
    expected = rows @ w[0, :5] + 0.25
    np.testing.assert_allclose(model.margins(rows_of(x, sparse))[:, 0], expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(model.margins(rows_of(x, not sparse))[:, 0], expected, rtol=1e-13, atol=1e-13)
    plain = x @ model.coef[0] + model.intercept[0]
    assert np.abs(plain - expected).max() > 1e-6  # what cancellation costs
    x[3, :3] = 0.0
    lacking = model.margins(rows_of(x, True))[3, 0]
    assert lacking == pytest.approx(model.margins(rows_of(x, False))[3, 0], rel=1e-13)


def test_the_users_scaling_and_the_coordinates_are_composed(x):
    mean, scale = x.mean(axis=0), np.array([3.0, 0.3, 1.0, 7.0, 2.0])
    inner = Coordinates(np.array([0.25, -1e-5, 2.0, 0.0, 1.0]), np.array([2.0, 0.5, 1.0, 1.0, 3.0]))
    w = np.arange(1.0, 13.0).reshape(2, 6)
    inside = (((x - mean) / scale - inner.centre) / inner.scale) @ w[:, :5].T + w[:, 5]
    model = in_file_units(w, 5, True, mean, scale, inner)
    np.testing.assert_allclose(model.margins(DenseRows(x)), inside, rtol=1e-12)
    np.testing.assert_allclose(x @ model.coef.T + model.intercept, inside, rtol=1e-9)
    assert in_file_units(w, 5, True, np.zeros(5), np.ones(5), as_given(5)).centre is None
