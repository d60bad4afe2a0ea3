"""Columns far from 0 without an intercept: smooth problems are solved, and an ending says what is wrong."""

import numpy as np
import pytest

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.partition import block
from mpiopt.data.coordinates import far_columns
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.curvature import curvature
from mpiopt.objective.curvature_root import CurvatureRoot, curvature_root
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

ROWS, FAR = 60, 2.0**27  # its square is beyond the digits of float64


def problem(loss, far=FAR):
    """Four columns of which three lie far from 0, on a grid that keeps all digits there."""
    rng = np.random.default_rng(11)
    near = np.round(rng.normal(size=(ROWS, 4)) * 1024) / 1024
    z = near @ [1.0, -1.0, 0.5, 0.3] + 0.3 * rng.logistic(size=ROWS)
    y = {"binary": np.sign(z), "real": z, "count": rng.poisson(np.exp(z / 2)).astype(float)}[Loss.make(loss).target]
    return near + far * np.array([1.0, 0.75, 0.0, 0.5]), y


def on(size, x, y, **options):
    """Fit on ranks in threads."""

    def fit(comm):
        mine = slice(*block(ROWS, size, comm.rank))
        return mpiopt.fit(x[mine], y[mine], comm, intercept=False, **options)

    return spmd(size, fit)[0]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("l2", [0.0, 1e-3])
@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_newton_finds_the_optimum_that_the_matrix_of_curvature_has_lost(loss, l2, size):
    x, y = problem(loss)
    found = on(size, x, y, loss=loss, l2=l2, algorithm="newton", max_epochs=200)
    assert found.certified, found.reason
    # The combinations of columns that are small beside FAR span the same space: the objective is that of these.
    near = np.column_stack([x[:, 0] - 2 * x[:, 3], x[:, 1] - 1.5 * x[:, 3], x[:, 2], x[:, 3] / FAR])
    if l2 == 0.0:
        best = mpiopt.fit(near, y, loss=loss, l2=0.0, intercept=False, tol=1e-10, algorithm="newton")
        assert found.objective == pytest.approx(best.objective, rel=1e-5)


def test_a_root_solves_what_the_matrix_cannot():
    h = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-20]])
    root = CurvatureRoot(np.array([[1.0, 1.0], [0.0, 1e-10]]))
    assert h[1, 1] == 1.0
    np.testing.assert_allclose(root.solve(np.array([0.0, 1e-20])), [-1.0, 1.0], rtol=1e-5)
    equal = CurvatureRoot(np.array([[1.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(equal.solve(np.array([1.0, 1.0])), [0.5, 0.5])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_root_is_that_of_the_curvature(size):
    x, y = problem("logistic", far=0.0)
    x = np.hstack([x, np.zeros((ROWS, 4))])

    def both(comm):
        begin, end = block(ROWS, size, comm.rank)
        rows, n = DenseRows(np.ascontiguousarray(x[begin:end])), end - begin
        shard = Shard(rows, y[begin:end], np.ones(n), np.arange(n), begin, ROWS, 4)
        objective, w = (
            Objective(Loss.make("logistic"), Penalty.make("ridge", {"l2": 0.1}), shard),
            np.full((1, 8), 0.3),
        )
        return curvature(objective, w, Channel(comm)), curvature_root(objective, w, Channel(comm))

    for h, root in spmd(size, both):
        np.testing.assert_allclose(np.linalg.inv(h), np.array([root.solve(e) for e in np.eye(4)]), rtol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_far_columns_are_those_that_have_a_spread(size):
    x = problem("squared")[0].copy()
    x[:, 2] = 5.0

    def main(comm):
        mine = slice(*block(ROWS, size, comm.rank))
        rows = DenseRows(np.ascontiguousarray(x[mine]))
        return far_columns(rows, np.ones(len(rows)), 4, comm)

    assert spmd(size, main) == [(0, 1, 3)] * size


@pytest.mark.parametrize("size", [1, 2])
def test_the_ending_names_the_columns_and_says_what_to_do(size):
    x, y = problem("logistic", far=2.0**40)
    found = on(size, x, y, loss="logistic", l1=1e-3, max_epochs=3)
    assert not found.certified
    assert "columns 0, 1, 3 (from 0): far from 0 beside their spread" in found.reason
    assert "--intercept" in found.reason
    with_intercept = mpiopt.fit(x, y, loss="logistic", l1=1e-3, max_epochs=1, tol=1e-15)
    assert "far from 0" not in with_intercept.reason
    near = mpiopt.fit(
        x - np.floor(x.min(axis=0)), y, loss="logistic", l1=1e-3, intercept=False, max_epochs=1, tol=1e-15
    )
    assert "far from 0" not in near.reason
