"""What the certifier says where there is no optimum, where rounding ends, and with wrong sums."""

import numpy as np
import pytest

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.objective import decrement

RNG = np.random.default_rng(8)
X = RNG.normal(size=(60, 3))


def fits(x, y, sizes=(1, 2, 3), **options):
    """Fits of the same rows on several numbers of ranks."""

    def main(comm):
        mine = slice(comm.rank, None, comm.size)
        return mpiopt.fit(x[mine], y[mine], comm, **options)

    return [spmd(size, main)[0] for size in sizes]


SEPARABLE = np.where(X @ [1.0, -2.0, 0.5] > 0.3, 1, 0)
DUMMY = np.repeat([0.0, 1.0], 30)[:, None]
NO_OPTIMUM = {
    "separable": (X, SEPARABLE, "logistic"),
    "separable, three classes": (X, np.digitize(X[:, 0], [-0.4, 0.4]), "softmax"),
    "a dummy of one class": (np.hstack([DUMMY, X]), np.where(DUMMY[:, 0] > 0, 1, X[:, 0] + X[:, 1] > 0), "logistic"),
    "a dummy without counts": (np.hstack([DUMMY, X]), np.where(DUMMY[:, 0] > 0, 0, RNG.poisson(2.0, 60)), "poisson"),
    "a column of units 1e9": (
        np.hstack([1e9 * DUMMY, X]),
        np.where(DUMMY[:, 0] > 0, 1, X[:, 0] > X[:, 1]),
        "logistic",
    ),
}


@pytest.mark.parametrize("algorithm", ["auto", "newton", "lbfgs", "saga"])
@pytest.mark.parametrize("case", NO_OPTIMUM)
def test_where_no_optimum_exists_it_is_said_in_one_line(case, algorithm):
    x, y, loss = NO_OPTIMUM[case]
    for fit in fits(x, y, loss=loss, l2=0.0, algorithm=algorithm):
        assert not fit.certified
        assert fit.reason.startswith("no optimum exists: the loss falls for ever")
        assert "add a penalty" in fit.reason
        assert "\n" not in fit.reason
        assert np.isfinite(fit.certificate)


@pytest.mark.parametrize("algorithm", ["newton", "lbfgs"])
@pytest.mark.parametrize("case", NO_OPTIMUM)
def test_many_columns_are_no_reason_to_certify_what_has_no_optimum(case, algorithm, monkeypatch):
    """Beyond a matrix the decrement comes from conjugate gradients; an estimate by the diagonal never certifies."""
    monkeypatch.setattr(decrement, "LARGEST_HESSIAN", 0)
    x, y, loss = NO_OPTIMUM[case]
    for fit in fits(x, y, loss=loss, l2=0.0, algorithm=algorithm, max_epochs=400):
        assert not fit.certified
        assert fit.reason.startswith("no optimum exists")


@pytest.mark.parametrize("case", NO_OPTIMUM)
def test_with_a_ridge_there_is_one(case):
    x, y, loss = NO_OPTIMUM[case]
    for fit in fits(x, y, loss=loss, l2=1e-3 / (x**2).mean()):
        assert fit.certified


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_rows_far_from_others_are_no_separation(loss):
    """Few rows decide about a rare dummy, and a Newton step moves their margins far; yet there is an optimum."""
    x = np.zeros((3000, 2))
    x[:, 0], x[:3, 1] = np.linspace(-1, 1, 3000), 1.0
    y = (np.arange(3000) % 2 == 0).astype(int)
    for fit in fits(x, y, loss=loss, l2=0.0, sizes=(1, 2)):
        assert fit.certified
        assert fit.certificate_kind.startswith("Newton decrement")


@pytest.mark.parametrize("algorithm", ["newton", "lbfgs", "saga"])
@pytest.mark.parametrize("l2", [0.0, 1e-6, 1.0])
def test_a_tolerance_below_rounding_ends_exact_to_rounding(algorithm, l2):
    y = X @ [1.0, -2.0, 0.5] + RNG.normal(size=60)
    for fit in fits(X, y, loss="squared", l2=l2, tol=1e-300, algorithm=algorithm):
        assert fit.certified
        assert "exact to rounding" in fit.certificate_kind
        assert fit.history[-1].epoch < 200
        assert fit.certificate < 1e-8


def test_an_exact_fit_is_certified():
    y = X @ [1.0, -2.0, 0.5] + 3.0
    for fit in fits(X, y, loss="squared", l2=0.0):
        assert fit.certified
        np.testing.assert_allclose(fit.coef, [[1.0, -2.0, 0.5]], atol=1e-9)


def test_targets_far_from_zero_are_no_obstacle_for_hubers_loss():
    y = 1e5 * (X @ [1.0, -2.0, 0.5]) + 3e6 + 1e4 * RNG.normal(size=60)
    best = fits(X, y, loss="huber", l2=0.0, tol=1e-9, sizes=(1,))[0].objective
    for algorithm in ("auto", "newton"):
        for fit in fits(X, y, loss="huber", l2=0.0, algorithm=algorithm):
            assert fit.certified
            assert fit.objective <= best * (1 + 1e-5)


@pytest.mark.parametrize("algorithm", ["auto", "newton", "lbfgs"])
def test_where_all_rows_can_be_fitted_f_itself_bounds_the_gap(algorithm):
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(24, 20)), rng.normal(size=20)
    y = np.where(x @ w > 0, 1.0, -1.0)
    for fit in fits(x, y, loss="squared-hinge", l2=0.0, algorithm=algorithm, tol=1e-8):
        assert fit.certified
        assert fit.certificate_kind.startswith("duality gap")
        assert fit.objective <= 1e-8 * 1e-9
