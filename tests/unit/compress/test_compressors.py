"""Numbers behind the compressors: moments of Gaussian and spherical vectors, and how far quantisation may shrink."""

import math

import numpy as np
import pytest

from mpiopt.compress import moments
from mpiopt.compress.compressors.quantised import Quantised

rng = np.random.default_rng(6)


def test_the_mean_of_norm_times_magnitude():
    """Against the form for equal variances, E ‖x‖|x_1| = σ² d E|u₁|, and against draws for others."""
    for d in (1, 2, 9):
        u = math.gamma(d / 2) / (math.sqrt(math.pi) * math.gamma((d + 1) / 2)) if d > 1 else 1.0
        np.testing.assert_allclose(moments.norm_times_magnitude(4 * np.eye(d)), 4 * d * u, rtol=1e-8)
    a = rng.standard_normal((4, 4)) * [1, 0.1, 3, 0.01]
    x = rng.standard_normal((400_000, 4)) @ a.T
    products = np.linalg.norm(x, axis=1)[:, None] * np.abs(x)
    spread = 5 * products.std(axis=0) / math.sqrt(len(x))
    assert (np.abs(products.mean(axis=0) - moments.norm_times_magnitude(a @ a.T)) < spread).all()


@pytest.mark.parametrize("d", [2, 3, 10])
def test_means_over_the_sphere(d):
    none = np.empty(0)
    assert moments.sphere_mean(lambda u: u**2, d, none) == pytest.approx(1 / d)
    assert moments.sphere_mean(lambda u: u**4, d, none) == pytest.approx(3 / (d * (d + 2)))
    cut = moments.sphere_mean(lambda u: (u > 0.5) * 1.0, d, np.array([0.5]))
    x = rng.standard_normal((200_000, d))
    assert cut == pytest.approx((np.abs(x[:, 0]) > 0.5 * np.linalg.norm(x, axis=1)).mean(), abs=0.006)


@pytest.mark.parametrize("levels", [1, 2, 7, 100])
@pytest.mark.parametrize("norm", ["max", "l2"])
@pytest.mark.parametrize("block", [0, 16, 128])
def test_shrunk_quantisation_is_a_contraction_for_its_worst_vectors(levels, norm, block):
    """E‖s C(x) − x‖² = ((1 − s)² + s² ω) ‖x‖² < ‖x‖² with the ω of the worst."""
    compressor = Quantised(levels, norm, block)
    for d in (0, 1, 2, 3, 17, 128, 1000, 100_000):
        s, omega = compressor.shrink(d), compressor.variance(d)
        assert 0.0 < s <= 1.0
        assert (1.0 - s) ** 2 + s * s * omega < 1.0
        assert compressor.contraction(d) == pytest.approx(1.0 - (1.0 - s) ** 2 - s * s * omega, abs=1e-12)
        assert 0.0 < compressor.typical_contraction(d) <= 1.0
