"""Fits on an mpi4py communicator: they free what they make, and print nothing."""

import os
import threading

import numpy as np
import pytest

import mpiopt

pytestmark = pytest.mark.mpi
RNG = np.random.default_rng(8)
X = RNG.normal(size=(20, 2))
Y = X @ [1.0, -2.0] > 0.1


@pytest.fixture
def raw():
    """Return MPI.COMM_WORLD as a communicator that counts in `alive` its duplicates that are not freed yet."""
    from mpi4py import MPI

    class Counted(MPI.Intracomm):
        alive = 0

        def Dup(self, info=MPI.INFO_NULL):
            Counted.alive += 1
            return super().Dup(info)

        def Free(self):
            Counted.alive -= 1
            super().Free()

    return Counted(MPI.COMM_WORLD)


def held(raw):
    """Return the communicators, file descriptors and threads of this process."""
    return raw.alive, len(os.listdir("/proc/self/fd")), threading.active_count()


def test_many_fits_leave_as_many_communicators_descriptors_and_threads(raw, capfd):
    mine = slice(raw.rank, None, raw.size)
    mpiopt.fit(X[mine], Y[mine], raw)
    before = held(raw)
    for _ in range(10):  # ranks that wait for a core make each fit slow on a busy machine
        fit = mpiopt.fit(X[mine], Y[mine], raw)
        mpiopt.Classifier(comm=raw).fit(X[mine], Y[mine])
    assert fit.certified
    after = held(raw)
    assert after[:2] == before[:2]
    assert after[2] <= before[2], "a thread of an earlier test may have ended"
    assert before[0] == 0
    assert capfd.readouterr() == ("", "")


def test_a_fit_that_fails_on_all_ranks_frees_its_communicators(raw):
    mine = slice(raw.rank, None, raw.size)
    for _ in range(3):
        with pytest.raises(ValueError, match="x holds NaN"):
            mpiopt.fit(X[mine] * np.nan, Y[mine], raw)
    assert raw.alive == 0


@pytest.mark.parametrize(("loss", "l2"), [("logistic", 0.01), ("softmax", 0.01), ("huber", 0.1)])
def test_newton_cg_is_certified_and_equal_on_all_ranks(raw, loss, l2):
    mine = slice(raw.rank, None, raw.size)
    y = X @ [1.0, -2.0] if loss == "huber" else Y + 0 if loss == "logistic" else np.digitize(X[:, 0], [-0.5, 0.5])
    found = mpiopt.fit(X[mine], y[mine], raw, loss=loss, l2=l2, algorithm="newton-cg", tol=1e-9)
    assert found.certified
    assert len(set(raw.allgather(found.coef.tobytes()))) == 1
    alone = mpiopt.fit(X, y, loss=loss, l2=l2, algorithm="newton-cg", tol=1e-9)
    assert found.objective == pytest.approx(alone.objective, rel=1e-8)
