"""A curvature beyond float64 is an error of one line, not an endless search for a damping."""

import numpy as np
import pytest

from mpiopt.algorithms.preconditioner import root_of
from mpiopt.algorithms.second_order.l1_quadratic import QuadraticModel


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("make", [root_of, lambda h: QuadraticModel(h, np.zeros(len(h)))])
@pytest.mark.parametrize("place", [(0, 0), (0, 1)])
def test_a_curvature_that_is_not_finite_is_refused(make, number, place):
    h = np.eye(2)
    h[place] = h[place[::-1]] = number
    with pytest.raises(ValueError, match=r"the curvature is not finite: .*--scale"):
        make(h)
