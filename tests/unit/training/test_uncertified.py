"""A fit that is not certified warns once, on rank 0, at the caller's line, with the reason and what to do."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import mpiopt
from mpiopt.comm.threads import spmd

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 4))
Y = np.where(X[:, 0] + 0.5 * RNG.normal(size=60) > 0, "yes", "no")
SHORT = {"tol": 1e-12, "max_epochs": 1, "algorithm": "saga"}
WORDS = r"not certified \(duality gap .*, tol 1e-12\): max_epochs 1 spent; raise max_epochs or tol"


def told(run):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run()
    return [warning for warning in found if issubclass(warning.category, ConvergenceWarning)]


@pytest.mark.parametrize("run", [lambda: mpiopt.fit(X, Y, **SHORT), lambda: mpiopt.Classifier(**SHORT).fit(X, Y)])
def test_one_warning_with_the_reason_at_the_callers_line(run):
    (warning,) = told(run)
    assert warning.filename == __file__
    with pytest.warns(ConvergenceWarning, match=WORDS):
        run()


def test_a_certified_fit_is_silent():
    assert told(lambda: mpiopt.fit(X, Y)) == []


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_on_several_ranks_there_is_one_warning(ranks):
    parts = np.array_split(np.arange(60), ranks)

    def main(comm):
        return mpiopt.fit(X[parts[comm.rank]], Y[parts[comm.rank]], comm, **SHORT).certified

    found = told(lambda: spmd(ranks, main))
    assert [str(warning.message).count("max_epochs 1 spent") for warning in found] == [1]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_as_an_error_it_is_raised_on_all_ranks(ranks):
    def main(comm):
        with pytest.raises((ConvergenceWarning, RuntimeError), match="not certified"):
            mpiopt.fit(X[comm.rank :: ranks], Y[comm.rank :: ranks], comm, **SHORT)
        return comm.rank

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        assert spmd(ranks, main) == list(range(ranks))


def test_where_there_is_no_optimum_the_reason_says_what_to_do():
    with pytest.warns(ConvergenceWarning, match="no optimum exists: .*; add a penalty, for example l2 = 1/N"):
        mpiopt.fit(X, np.where(X[:, 0] > 0, 1, 0), l2=0.0)
