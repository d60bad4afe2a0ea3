"""Fits of rows and labels at the ends of what there is: no false alarm, no NaN, no rank that waits."""

import numpy as np
import pytest

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.objective.losses.base import Loss

RNG = np.random.default_rng(8)
X = RNG.normal(size=(60, 4))


def test_labels_far_from_zero_are_no_changed_memory():
    """Two ways to evaluate differ by rounding, which is large beside the slopes."""
    y = 3e9 + X[:, 0] + RNG.normal(size=60)
    for algorithm in ("working-set", "newton"):
        assert mpiopt.fit(X, y, loss="squared", l1=0.05, l2=0.0, algorithm=algorithm).certified


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie", "negative-binomial"])
def test_equal_labels_are_fitted_exactly(loss):
    fit = mpiopt.fit(X, np.full(60, 7.0), loss=loss, l2=1e-3)
    assert fit.certified
    assert fit.certificate >= 0.0


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("loss", ["poisson", "squared", "gamma"])
def test_a_row_of_weight_0_counts_nothing_however_far_it_is(loss, sparse):
    import scipy.sparse as sp

    y, weight = 1.0 + np.exp(X[:, 0]).round(), np.ones(60)
    x, label = np.vstack([X, np.full((1, 4), 1e6)]), np.append(y, 1e200)
    far = mpiopt.fit(
        sp.csr_matrix(x) if sparse else x, label, loss=loss, sample_weight=np.append(weight, 0.0), l2=0.1
    )
    near = mpiopt.fit(X, y, loss=loss, l2=0.1, tol=1e-10)
    assert far.certified
    np.testing.assert_allclose(far.coef, near.coef, atol=1e-2)


def test_a_rank_without_rows_has_labels_of_any_kind():
    words = np.array(["a", "b", "c"])[np.arange(60) % 3]

    def main(comm):
        mine = slice(0, 60) if comm.rank == 0 else slice(0, 0)
        y = words if comm.rank == 0 else np.array([])
        return mpiopt.fit(X[mine], y, comm, l2=0.1).classes.tolist()

    assert spmd(2, main) == [["a", "b", "c"]] * 2


@pytest.mark.parametrize("theta", [1e8, 1e12])
def test_the_negative_binomial_conjugate_keeps_its_digits_for_large_theta(theta):
    loss = Loss.make("negative-binomial", {"theta": theta})
    z, y = np.linspace(-3.0, 3.0, 50)[:, None], (np.arange(50) % 6).astype(float)
    u = loss.slope(z, y)
    gap = loss.value(z, y) + loss.conjugate(u, y) - (u * z)[:, 0]
    assert np.abs(gap).max() < 1e-13 * np.log(theta) * 10
