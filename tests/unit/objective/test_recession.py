"""A direction of recession is found exactly where there is one, however far out the model is.

Nor is a decrement believed where directions without curvature hide how far F falls.
"""

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.partition import block
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective import decrement, recession
from mpiopt.objective.certificate import Certifier
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

ROWS, OUT = 60, 60.0  # rows; margins of the rows that fall for ever


def objective(loss, x, y, comm, far=None):
    begin, end = block(len(x), comm.size, comm.rank)
    n, d = end - begin, x.shape[1]
    rows = DenseRows(np.ascontiguousarray(np.hstack([x, np.zeros((len(x), -d % 8))])[begin:end]))
    shard = Shard(rows, y[begin:end], np.ones(n), np.arange(n), begin, len(x), d, far=far)
    return Objective(Loss.make(loss), Penalty.make("none"), shard, classes=3)


def problem(loss, parted):
    """Rows of which a third have one column more than the others, and whether their labels fit it alone."""
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(size=(ROWS, 2)), np.arange(ROWS) % 3 == 0])
    x[:, 2] *= rng.uniform(1.0, 50.0, ROWS)
    y = {
        "logistic": np.sign(rng.normal(size=ROWS)),
        "poisson": rng.poisson(1.0, ROWS).astype(float),
        "softmax": rng.integers(0, 3, ROWS).astype(float),
    }[loss]
    mine = np.flatnonzero(x[:, 2])
    y[mine] = {"logistic": 1.0, "poisson": 0.0, "softmax": 2.0}[loss]
    if not parted:
        y[mine[0]] = {"logistic": -1.0, "poisson": 1.0, "softmax": 1.0}[loss]
        x[mine[0], 2] = 1e-3  # its loss does not rise much
    return x, y


@pytest.mark.parametrize("size", [1, 2, 3, 61])
@pytest.mark.parametrize("parted", [True, False])
@pytest.mark.parametrize("loss", ["logistic", "poisson", "softmax"])
def test_a_direction_is_found_if_the_rows_that_are_far_out_have_one(loss, parted, size):
    x, y = problem(loss, parted)

    def main(comm):
        target, channel = objective(loss, x, y, comm), Channel(comm)
        w = target.zeros()
        w[-1, 2] = -OUT if loss == "poisson" else OUT
        value = evaluate_exact(target, w, channel).value
        conceivable = recession.is_conceivable(target, w, value, channel)
        return conceivable, recession.direction(target, w, 1e-9, channel)

    for conceivable, found in spmd(size, main):
        assert conceivable
        assert (found is not None) == parted
        if parted:
            z = x @ found[:, :3].T
            others = x[:, 2] == 0.0
            assert np.abs(z[others]).max() <= 1e-9 * np.abs(z).max()
            ahead = z[:, 0] if loss != "softmax" else (z[:, [2]] - z[:, :2]).min(axis=1)
            assert ((-ahead if loss == "poisson" else ahead)[~others] > 0.0).all()


def test_no_direction_is_looked_for_where_no_row_is_far_out():
    x, y = problem("logistic", True)

    def main(comm):
        target = objective("logistic", x, y, comm)
        return recession.is_conceivable(target, target.zeros(), 0.7, Channel(comm))

    assert spmd(2, main) == [False, False]


@pytest.mark.parametrize("size", [1, 3])
def test_the_decrement_of_far_columns_is_that_of_the_columns_without_their_middles(size):
    """Both have the same margins; the Hessian in float64 of the far ones has lost all differences."""
    rng = np.random.default_rng(5)
    near, far = np.round(rng.normal(size=(ROWS, 2)) * 1024) / 1024, 2.0**38
    x, y = near + far * np.array([1.0, 0.5]), np.sign(near[:, 0] + rng.logistic(size=ROWS))
    span = np.column_stack([near[:, 0] - 2.0 * near[:, 1], 1.0 + near[:, 1] / (far / 2)])  # u = w·far in place of w_1

    def measured(rows, w, middles):
        def main(comm):
            target, channel = objective("logistic", rows, y, comm, middles), Channel(comm)
            full = target.zeros()
            full[0, :2] = w
            exact = evaluate_exact(target, full, channel)
            return decrement.decrement(target, full, exact.gradient, channel).value

        return spmd(size, main)[0]

    w = np.array([0.25, -0.5])  # w·far is 0
    assert measured(x, w, far * np.array([1.0, 0.5])) == pytest.approx(measured(span, [0.25, 0.0], None), rel=1e-6)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_no_decrement_certifies_a_larger_distance(side):
    """To first order the distance is a decrement, which is too small on one side of the optimum."""
    best, y = np.log(3.0), np.array([1.0, 1.0, 1.0, -1.0])

    def value(w):
        return 0.75 * np.log1p(np.exp(-w)) + 0.25 * np.log1p(np.exp(w))

    def main(comm):
        target, channel = objective("logistic", np.ones((4, 1)), y, comm), Channel(comm)
        w = target.zeros()
        w[0, 0] = best + 0.3 * side
        exact = evaluate_exact(target, w, channel)
        first = decrement.decrement(target, w, exact.gradient, channel).value
        tol = first * 1.0001 / exact.value
        return w, first, tol, Certifier.begin(target, tol, channel).judge(w, exact, 0.0, channel)

    w, first, tol, judged = spmd(1, main)[0]
    assert (first < 0.97 * (value(best + 0.3 * side) - value(best))) == (side < 0.0)
    assert judged.ending == "certified"
    assert judged.exact.value == pytest.approx(value(w[0, 0]), rel=1e-12)
    assert value(w[0, 0]) - value(best) <= tol * value(w[0, 0])


def test_what_a_step_leaves_does_not_make_a_decrement_believed():
    """Along a column without curvature F falls by much; along the other one Newton's step overshoots."""
    x, y = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]]), np.array([1.0, 1.0, -1.0, -1.0])

    def main(comm):
        target, channel = objective("logistic", x, y, comm), Channel(comm)
        w = target.zeros()
        w[0, :2] = 2.0, 800.0
        target.shard.weight[-1:] *= 1e-3
        exact = evaluate_exact(target, w, channel)
        found = decrement.decrement(target, w, exact.gradient, channel, by_root=True)
        return found, decrement.contraction(target, w, exact, found, 1.0, channel, 0.0).believed

    found, believed = spmd(1, main)[0]
    assert found.by_root
    assert found.flat > 0.5 * found.value
    assert not believed


@pytest.mark.parametrize("by_root", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_where_huber_has_a_slope_and_no_curvature_no_decrement_is_small(size, by_root):
    x = np.random.default_rng(1).normal(size=(ROWS, 2))

    def main(comm):
        target, channel = objective("huber", x, np.full(ROWS, 1e6), comm), Channel(comm)
        for w in (target.zeros(), target.zeros() + (np.arange(target.width) < 2)):
            found = decrement.decrement(target, w, evaluate_exact(target, w, channel).gradient, channel, by_root)
            assert found.value == np.inf
        return True

    assert all(spmd(size, main))


@pytest.mark.parametrize("size", [1, 3])
def test_a_column_without_curvature_may_recede(size):
    """So far out the gradient is 0 exactly, as at an optimum."""
    x, y = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([1.0, -1.0, 1.0])

    def main(comm):
        target, channel = objective("logistic", x, y, comm), Channel(comm)
        w = target.zeros()
        w[0, 1] = 1125.0
        exact = evaluate_exact(target, w, channel)
        found = decrement.decrement(target, w, exact.gradient, channel)
        return found.value, found.may_recede, recession.direction(target, w, found.value, channel)

    for value, may_recede, found in spmd(size, main):
        assert value == 0.0
        assert may_recede
        assert found[0, 1] > 0.0
