"""The compressors inside compiled loops draw the same as the classes of the same name."""

import numpy as np
import pytest

from mpiopt.compress.compressors.base import Compressor
from mpiopt.kernels import compressors

D = 100
SAME = {
    "none": (compressors.NONE, 0.0, {}),
    "quantised": (compressors.QUANTISED, 3.0, {"levels": 3, "norm": "l2", "block": 0}),
    "sparsified": (compressors.SPARSIFIED, 1 / 11, {"share": 1 / 11}),
    "rand-k": (compressors.RAND_K, 9.0, {"share": 0.09}),
    "participation": (compressors.PARTICIPATION, 1 / 11, {"share": 1 / 11}),
}


@pytest.mark.parametrize("name", SAME)
def test_the_draws_are_those_of_the_class(name):
    number, parameter, options = SAME[name]
    compressor, rng = Compressor.make(name, options), np.random.default_rng(1)
    memory, out, same = compressors.scratch(number, parameter, D), np.empty(D), 0
    for seed in range(200):
        x = rng.standard_normal(D) * 10.0 ** rng.integers(-30, 30)
        out[:] = np.nan
        compressors.apply(number, parameter, x, seed, out, memory)
        other = compressor.decode(compressor.encode(x, seed), D)
        same += np.allclose(out, other, rtol=1e-5, atol=1e-6 * np.abs(x).max())
    assert same >= 199  # a number at the edge of a level may be rounded to the other side


@pytest.mark.parametrize("name", ["quantised", "sparsified", "rand-k", "participation"])
def test_neighbouring_seeds_draw_independently(name):
    number, parameter, options = SAME[name]
    x, n = np.random.default_rng(2).standard_normal(D), 4000
    memory, errors = compressors.scratch(number, parameter, D), np.empty((n, D))
    for seed in range(n):
        compressors.apply(number, parameter, x, seed, errors[seed], memory)
    errors -= x
    power = (errors**2).sum() / n
    assert power == pytest.approx((errors[1:] ** 2).mean() * D, rel=1e-2)
    for lag in (1, 2, 16):
        assert abs((errors[lag:] * errors[:-lag]).sum() / (n - lag)) < 5 * power / np.sqrt(n)
    if name != "quantised":
        omega = Compressor.make(name, options).variance(D)
        spread = 5 * np.std((errors**2).sum(1)) / np.sqrt(n)
        assert power == pytest.approx(omega * (x @ x), abs=spread + 1e-9)
