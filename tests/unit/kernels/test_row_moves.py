"""Dense rows copied in an order are looked at for numbers that are not finite, whatever vectors hold them."""

import numpy as np
import pytest

from mpiopt.kernels.row_moves import ascending, copy_dense, hashes


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("columns", [1, 7, 17])
def test_every_number_that_is_not_finite_is_seen(kind, columns):
    order, largest = np.array([2, 0, 1]), np.full((3, columns), np.finfo(kind).max, kind)
    out = np.zeros((3, 24), kind)
    assert copy_dense(order, largest, out)
    assert (out[:, :columns] == largest).all()
    assert not out[:, columns:].any()
    for k in range(columns):
        for wrong in (np.nan, np.inf, -np.inf):
            x = largest.copy()
            x[1, k] = wrong
            assert not copy_dense(order, x, out), (k, wrong)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 9, 1000, 70000])
def test_numbers_that_are_spread_evenly_are_sorted(n):
    draws = hashes(5, n, 123)
    order, values = ascending(draws)
    np.testing.assert_array_equal(order, np.argsort(draws))
    np.testing.assert_array_equal(values, np.sort(draws))


def test_numbers_that_share_their_leading_bits_are_sorted_too():
    draws = np.array([7, 3, 5, 2**63, 1, 3], np.uint64)
    assert ascending(draws)[1].tolist() == [1, 3, 3, 5, 7, 2**63]
