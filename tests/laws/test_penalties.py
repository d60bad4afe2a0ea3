"""Laws of every penalty: the Fenchel-Young gap and the prox-gradient vanish at subgradients."""

import math

import numpy as np
import pytest

from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.duality_gap import duality_gap, prox_gradient
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

rng = np.random.default_rng(3)


def members():
    for name, kind in Penalty.known().items():
        for scale in (0.0, 0.3, 2.0):
            yield pytest.param(
                kind(**{o: scale * (k + 1) for k, o in enumerate(kind.options())}), id=f"{name}-{scale}"
            )


@pytest.fixture(params=members())
def penalty(request):
    return request.param


def on_columns(penalty, d):
    """An objective of d columns, all penalised, without rows."""
    shard = Shard(DenseRows(np.zeros((0, d))), np.zeros(0), np.zeros(0), np.arange(0), 0, 1, d)
    return Objective(Loss.make("squared"), penalty, shard)


def gap(penalty, w, v):
    h = on_columns(penalty, len(w))
    return duality_gap(w[None], v[None], h.threshold, h.ridge)


def test_prox_beats_brute_force(penalty):
    w = 3 * rng.standard_normal(8)
    h = on_columns(penalty, 8)
    # The map is w - prox of l1 at w - gradient, and the gradient has the ridge in it: prox of l1 with step 1.
    at = w - h.ridge * w
    best = w - prox_gradient(h, w[None], Evaluation(0.0, np.zeros((1, 8))))[0]

    def cost(u):
        return h.threshold * np.abs(u) + (u - at) ** 2 / 2

    for u in np.concatenate([np.linspace(-8, 8, 4001), [0.0]]):
        assert (cost(best) <= cost(u) + 1e-12).all()


def test_gap_is_the_largest_over_the_dual(penalty):
    """h*(v) = max_u v u - h(u) by brute force on a grid."""
    l1, l2 = penalty.strengths
    if l2 == 0:
        return
    grid = np.linspace(-60, 60, 240001)
    for w, v in 2 * rng.standard_normal((20, 2)):
        h = on_columns(penalty, 1).penalty_value(np.array([[w]]))
        found = gap(penalty, np.array([w]), np.array([v]))
        assert found >= 0
        conjugate = (v * grid - l1 * np.abs(grid) - 0.5 * l2 * grid**2).max()
        assert found == pytest.approx(h + conjugate - v * w, abs=1e-6)


def test_gap_and_prox_gradient_vanish_where_v_is_a_subgradient(penalty):
    w = rng.standard_normal(48)
    w[::3] = 0
    l1, l2 = penalty.strengths
    v = np.where(w == 0, l1 * rng.uniform(-1, 1, 48), l1 * np.sign(w) + l2 * w)
    h = on_columns(penalty, 48)
    assert np.abs(prox_gradient(h, w[None], Evaluation(0.0, -v[None]))).max() <= 1e-14
    assert np.abs(prox_gradient(h, w[None], Evaluation(0.0, -v[None] - 0.1))).max() > 1e-3
    if l2:
        assert 0 <= gap(penalty, w, v) <= 1e-14
        assert gap(penalty, w, v + 0.1) > 1e-3


def test_smooth_means_no_corner(penalty):
    assert penalty.smooth == ("l1" not in penalty.options())


def test_negative_strength_is_refused():
    with pytest.raises(ValueError, match="l2 must be a number >= 0, not -1"):
        Penalty.make("elastic-net", {"l2": -1.0})
    with pytest.raises(ValueError, match="l1 must be a number >= 0, not nan"):
        Penalty.make("lasso", {"l1": math.nan})
