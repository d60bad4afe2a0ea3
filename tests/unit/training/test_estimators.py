"""The estimators as scikit-learn's tools see them, and on several ranks."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

import mpiopt
from mpiopt.comm.threads import spmd

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 3))
Y = np.where(X[:, 0] + 0.3 * RNG.normal(size=60) > 0, "yes", "no")


@pytest.mark.filterwarnings("ignore:.*does not inherit from.*BaseEstimator", "ignore:Skipping check check_array_api")
@pytest.mark.filterwarnings("ignore:A column-vector y was passed", "ignore:.*[Oo]verflow.*:RuntimeWarning")
@pytest.mark.parametrize("kind", [mpiopt.Classifier, mpiopt.Regressor])
def test_scikit_learns_own_checks_pass(kind):
    # One of them compares models to 1e-7, so they must be that exact.
    found = check_estimator(kind(tol=1e-13), on_fail=None)
    assert [f["check_name"] for f in found if f["status"] == "failed"] == []
    assert [f["check_name"] for f in found if f["status"] == "skipped"] == ["check_array_api_input"]
    assert len(found) > 50


def test_rows_that_one_rank_cannot_take_are_refused_on_all():
    def main(comm):
        x = X[comm.rank :: 3].copy()
        x[0, 0] = np.nan if comm.rank == 1 else 0.0
        with pytest.raises(ValueError, match="NaN or infinity"):
            mpiopt.Classifier(comm=comm).fit(x, Y[comm.rank :: 3])
        return True

    assert spmd(3, main) == [True] * 3


def test_a_rank_may_have_no_rows():
    def main(comm):
        mine = slice(0, 0) if comm.rank == 2 else slice(comm.rank, None, 2)
        return mpiopt.Classifier(comm=comm).fit(X[mine], Y[mine]).score(X, Y)

    assert min(spmd(3, main)) > 0.8


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X[0], Y, "Reshape your data"),
        (X * 1j, Y, "Complex data not supported"),
        (X, RNG.normal(size=60), "Unknown label type"),
        (X, None, "requires y to be passed"),
        (X[:0], Y[:0], r"0 sample\(s\)"),
        (X[:, :0], Y, r"0 feature\(s\)"),
        ([["a"]], ["b"], "X holds a value that is not a number"),
    ],
)
def test_what_no_classifier_takes(x, y, words):
    with pytest.raises(ValueError, match=words):
        mpiopt.Classifier().fit(x, y)


def test_a_model_must_be_there_and_have_as_many_columns():
    with pytest.raises(ValueError, match="not fitted yet"):
        mpiopt.Regressor().predict(X)
    fitted = mpiopt.Classifier().fit(X, Y)
    with pytest.raises(ValueError, match="X has 2 features, but Classifier is expecting 3 features as input"):
        fitted.predict(X[:, :2])
    with pytest.raises(ValueError, match="Classifier has no parameter 'C'"):
        fitted.set_params(C=1.0)


def test_the_constants_of_classes_have_the_mean_0():
    fit = mpiopt.fit(X, RNG.integers(0, 3, 60), loss="softmax", l2=0.1)
    assert fit.intercept.sum() == pytest.approx(0.0, abs=1e-15)
    assert np.abs(fit.intercept).max() > 1e-3
