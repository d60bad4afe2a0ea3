"""The sums of softmax by constants, beside the formula in numpy."""

import numpy as np
import pytest

from mpiopt.kernels.class_sums import BLOCK, class_sums

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5])
def test_sums_are_those_of_the_formula(n, classes):
    z, at, s = RNG.normal(size=(n, classes)) * 3.0, RNG.normal(size=classes), RNG.random(n)
    y = RNG.integers(classes, size=n)
    e = np.exp(z + at)
    p, own = e / e.sum(axis=1, keepdims=True), np.eye(classes)[y]
    slopes = s[:, None] * (p - own)
    value = [s @ (np.log(e.sum(axis=1)) - ((z + at) * own).sum(axis=1)), s @ np.abs(z + at).max(axis=1, initial=0.0)]
    bend = np.diag(s @ p) - (s[:, None] * p).T @ p
    expected = np.concatenate([slopes.sum(axis=0), np.abs(slopes).sum(axis=0), value, bend.ravel()])
    np.testing.assert_allclose(class_sums(z, at, y.astype(np.float64), s), expected, rtol=1e-12, atol=1e-13)


def test_a_row_that_is_surely_of_its_class_has_a_slope_to_all_digits():
    z = np.array([[60.0, 0.0, 0.0]])
    sums = class_sums(z, np.zeros(3), np.array([0.0]), np.ones(1))
    assert sums[0] == pytest.approx(-2.0 * np.exp(-60.0), rel=1e-12, abs=0.0)
    assert sums[8] == pytest.approx(2.0 * np.exp(-60.0), rel=1e-12, abs=0.0)
