"""Every loss has the conjugate that it says, and a parabola above it that touches it."""

import numpy as np
import pytest

from mpiopt.objective.losses.base import Loss
from tests.cases.problems import CLASSES, content

LOSSES = sorted(Loss.known())


def rows(name, seed):
    """The loss, margins and labels of some rows."""
    loss = Loss.make(name)
    _, y, _ = content(loss)
    return loss, np.random.default_rng(seed).normal(size=(len(y), loss.outputs(CLASSES))) * 2.0, y


@pytest.mark.parametrize("name", LOSSES)
def test_fenchels_inequality_holds_with_equality_at_the_slope(name):
    loss, z, y = rows(name, 0)
    if type(loss).conjugate is Loss.conjugate:
        assert np.isinf(loss.conjugate(loss.slope(z, y), y)).all()  # a loss without a formula
        return
    slope = loss.slope(z, y)
    at = loss.value(z, y) + loss.conjugate(slope, y) - (slope * z).sum(axis=1)
    np.testing.assert_allclose(at, 0.0, atol=1e-12 * (1 + np.abs(loss.value(z, y)).max()))
    for part in (0.0, 0.3, 0.9):
        _, other, _ = rows(name, 1)
        u = part * loss.slope(other, y)
        gap = loss.value(z, y) + loss.conjugate(u, y) - (u * z).sum(axis=1)
        assert (gap >= -1e-12).all()
        assert np.isfinite(gap).all()  # scaled slopes stay in the domain


@pytest.mark.parametrize("name", [name for name in LOSSES if Loss.make(name).outputs(CLASSES) == 1])
def test_the_majorant_bounds_the_loss_where_it_is_not_the_curvature(name):
    loss, z, y = rows(name, 2)
    c = loss.majorant(z, y)
    assert (c >= loss.curvature(z, y)).all()
    if type(loss).majorant is not Loss.majorant:
        for move in (-3.0, -0.1, 0.1, 3.0):
            above = loss.value(z, y) + move * loss.slope(z, y)[:, 0] + 0.5 * c * move * move
            assert (loss.value(z + move, y) <= above + 1e-12).all()


@pytest.mark.parametrize("name", LOSSES)
def test_below_its_limit_a_row_is_on_the_right_side(name):
    loss, z, y = rows(name, 3)
    if loss.right_below is None:
        return
    right = loss.value(z, y) < loss.right_below
    assert right.any()
    assert not right.all()
    best = z[:, 0] * y > 0 if z.shape[1] == 1 else z.argmax(axis=1) == y
    assert best[right].all()
    assert (loss.value(3.0 * z, y)[right] < loss.value(z, y)[right]).all()
