"""Dense rows copied in an order are looked at for numbers that are not finite, whatever vectors hold them."""

import numpy as np
import pytest

from mpiopt.kernels.row_moves import copy_dense


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
