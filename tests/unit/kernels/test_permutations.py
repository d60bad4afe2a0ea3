"""Orders in which blocks of rows are visited."""

import numpy as np
import pytest

from mpiopt.kernels.permutations import MIXED, in_stretches


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000, 100_003])
@pytest.mark.parametrize("stretch", [1, 3, 50])
def test_stretches_hold_each_block_once_and_near_blocks_are_near_in_time(n, stretch):
    order = in_stretches(n, 8, stretch, 5)
    np.testing.assert_array_equal(np.sort(order), np.arange(0, n, 8))
    window = order[: MIXED * stretch] // (8 * stretch)
    assert len(np.unique(window)) <= MIXED + 1
    if n > 1000:
        assert (order != np.sort(order)).mean() > 0.9
        assert (order != in_stretches(n, 8, stretch, 6)).mean() > 0.9
