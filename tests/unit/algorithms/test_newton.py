"""Newton's method where curvature jumps: rows beyond the kink slow it down only as long as they must."""

import numpy as np
import pytest

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.core.partition import block


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_a_wide_squared_hinge_with_a_weak_ridge_is_certified(seed, size):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(15, 30)) * 2.0 ** rng.integers(-20, 20, 30)
    y = np.sign(rng.normal(size=15))

    def fit(comm):
        mine = slice(*block(15, size, comm.rank))
        return mpiopt.fit(x[mine], y[mine], comm, loss="squared-hinge", l2=1.0, algorithm="newton", max_epochs=200)

    found = spmd(size, fit)[0]
    assert found.certified, found.reason


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("seed", [0, 3, 4])
def test_a_curvature_that_is_singular_to_rounding_does_not_stop_newton(seed, size):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(12, 36)) * 2.0 ** rng.integers(-30, 30, 36) + np.round(10 ** rng.uniform(0, 6, 36))
    y = rng.poisson(4.0, 12).astype(float)

    def fit(comm):
        mine = slice(*block(12, size, comm.rank))
        return mpiopt.fit(x[mine], y[mine], comm, loss="poisson", l2=1e-6, algorithm="newton", max_epochs=200)

    found = spmd(size, fit)[0]
    assert found.certified, found.reason
