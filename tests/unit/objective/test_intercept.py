"""The best constants alone: the slopes sum to zero, on any number of ranks, wherever the margins are."""

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective import intercept
from mpiopt.objective.intercept import minimise_intercept
from mpiopt.objective.losses.base import Loss
from tests.cases.problems import CLASSES, bounds, content


def minimised(name, size, offset, spread, labels=None):
    """δ on `size` ranks, and the sums of slopes and of their sizes there."""
    loss = Loss.make(name)
    _, y, s = content(loss)
    y = y if labels is None else labels(y)
    z = offset + spread * np.random.default_rng(4).normal(size=(len(y), loss.outputs(CLASSES)))

    def main(comm):
        mine = slice(*bounds(comm.size, comm.rank))
        return minimise_intercept(loss, z[mine], y[mine], s[mine], Channel(comm))

    found = spmd(size, main)
    assert all(np.array_equal(found[0], other) for other in found)
    slopes = loss.slope(z + found[0], y) * s[:, None]
    return found[0], slopes.sum(axis=0), np.abs(slopes).sum(axis=0)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (30.0, 0.1), (-20.0, 8.0)])
@pytest.mark.parametrize("name", sorted(Loss.known()))
def test_the_slopes_sum_to_zero(name, offset, spread, size):
    _, total, size_of_slopes = minimised(name, size, offset, spread)
    assert (np.abs(total) <= 1e-13 * size_of_slopes).all()


@pytest.mark.parametrize("name", ["squared", "huber"])
@pytest.mark.parametrize("scale", [1e-9, 1e3])
def test_targets_may_have_any_unit_and_offset(name, scale):
    shift, total, size_of_slopes = minimised(name, 2, 0.0, 1.0, lambda y: scale * y + 1e6 * scale)
    assert abs(total[0]) <= 1e-9 * size_of_slopes[0]
    assert shift[0] == pytest.approx(1e6 * scale, rel=1e-3, abs=10.0)


def test_large_counts_do_not_throw_the_search_far_out():
    shift, total, size_of_slopes = minimised("poisson", 2, 0.0, 0.0, lambda y: 80.0 + y)
    assert shift[0] == pytest.approx(np.log(80.0), abs=0.1)
    assert abs(total[0]) <= 1e-13 * size_of_slopes[0]


def test_a_class_without_weight_ends_far_out_and_does_not_hang():
    shift, *_ = minimised("logistic", 2, 0.0, 1.0, np.abs)
    assert 20.0 < shift[0] <= intercept.LARGEST_SHIFT
    shift, *_ = minimised("softmax", 2, 0.0, 1.0, np.zeros_like)
    assert shift[0] - shift[1:].max() > 20.0


def test_many_classes_are_fitted_in_proportion(monkeypatch):
    expected, *_ = minimised("softmax", 1, 0.0, 0.5)
    monkeypatch.setattr(intercept, "MOST_OUTPUTS", 1)
    found, *_ = minimised("softmax", 3, 0.0, 0.5)
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-8)


def test_where_all_rows_fit_the_search_ends_at_rounding():
    """The loss is far below the rounding of the margins: values no longer say which step is good."""
    loss, (_, y, s) = Loss.make("softmax"), content(Loss.make("softmax"))
    z = 40.0 + 9.0 * np.eye(CLASSES)[y.astype(int)] + np.random.default_rng(5).normal(size=(len(y), CLASSES))

    def main(comm):
        channel = Channel(comm)
        minimise_intercept(loss, z, y, s / s.sum(), channel)
        return channel.traffic.exchanges

    assert spmd(1, main)[0] <= 12
