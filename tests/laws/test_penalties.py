"""Laws of every penalty: the prox minimises, the gap is the Fenchel-Young gap and vanishes at subgradients."""

import math

import numpy as np
import pytest

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


def test_prox_beats_brute_force(penalty):
    steps = np.array([0.01, 0.5, 1.0, 7.0])
    w = 3 * rng.standard_normal((5, 4))
    best = penalty.prox(w, steps)

    def cost(u):
        l1, l2 = penalty.strengths
        return l1 * np.abs(u) + 0.5 * l2 * u * u + (u - w) ** 2 / (2 * steps)

    for u in np.concatenate([np.linspace(-8, 8, 4001), [0.0]]):
        assert (cost(best) <= cost(u) + 1e-12).all()
    assert (cost(best) <= np.minimum(cost(best + 1e-5), cost(best - 1e-5))).all()


def test_prox_is_one_for_each_column(penalty):
    w, steps = rng.standard_normal((2, 3)), np.array([0.1, 1.0, 10.0])
    for j, step in enumerate(steps):
        assert (penalty.prox(w, steps)[:, j] == penalty.prox(w[:, j], float(step))).all()


def test_gap_is_the_largest_over_the_dual(penalty):
    """h*(v) = max_u v u - h(u) by brute force on a grid."""
    grid = np.linspace(-60, 60, 240001)
    for w, v in 2 * rng.standard_normal((20, 2)):
        h = [penalty.value(np.array([w]))]
        l1, l2 = penalty.strengths
        gap = penalty.gap(np.array([w]), np.array([v]))
        assert gap >= 0
        if l2 == 0 and abs(v) > l1:
            assert gap == math.inf
            continue
        conjugate = (v * grid - l1 * np.abs(grid) - 0.5 * l2 * grid**2).max()
        assert gap == pytest.approx(h[0] + conjugate - v * w, abs=1e-6)


def test_gap_vanishes_where_v_is_a_subgradient(penalty):
    w = rng.standard_normal(50)
    w[::3] = 0
    l1, l2 = penalty.strengths
    v = np.where(w == 0, l1 * rng.uniform(-1, 1, 50), l1 * np.sign(w) + l2 * w)
    v = v if l2 else np.clip(v, -l1, l1)
    assert 0 <= penalty.gap(w, v) <= 1e-14
    assert penalty.gap(w, v + 0.1) > 1e-3


def test_fixed_point_of_the_prox_is_the_optimum(penalty):
    """w = prox(w + step v) holds where v is a subgradient at w."""
    v = 4 * rng.standard_normal(30)
    l1, l2 = penalty.strengths
    if l2 == 0:
        return
    w = np.sign(v) * np.maximum(np.abs(v) - l1, 0) / l2
    np.testing.assert_allclose(penalty.prox(w + 0.7 * v, 0.7), w, atol=1e-13)
    assert penalty.gap(w, v) == pytest.approx(0, abs=1e-13)


def test_smooth_means_no_corner(penalty):
    assert penalty.smooth == ("l1" not in penalty.options())


def test_negative_strength_is_refused():
    with pytest.raises(ValueError, match="l2 must be a number >= 0, not -1"):
        Penalty.make("elastic-net", {"l2": -1.0})
    with pytest.raises(ValueError, match="l1 must be a number >= 0, not nan"):
        Penalty.make("lasso", {"l1": math.nan})
