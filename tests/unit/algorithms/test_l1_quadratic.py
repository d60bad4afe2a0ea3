"""Quadratic models with l1: an approximate solution is as good as promised, the exact one is the minimum."""

import numpy as np
import pytest

from mpiopt.algorithms.second_order import l1_quadratic
from mpiopt.algorithms.second_order.l1_quadratic import (
    QuadraticModel,
    approach_each,
    first_order_change,
    largest_violation,
)
from mpiopt.objective.duality_gap import least_subgradient

RANK, SIZE = 30, 80


@pytest.fixture(params=["kernel", "LAPACK"], autouse=True)
def solver(request, monkeypatch):
    """By the kernel for few unknowns, and by that for many."""
    if request.param == "LAPACK":
        monkeypatch.setattr(l1_quadratic, "FEW", 0)


def model(seed, ridge, level):
    """A model of less rank than unknowns, a third of them without a penalty, and a point with some zeros."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(RANK, SIZE)) * np.logspace(0, -2, SIZE)
    x[:, 1::2] = x[:, ::2] + 1e-3 * x[:, 1::2]
    threshold = np.where(np.arange(SIZE) % 20 == 3, 0.0, level)
    w = rng.normal(size=SIZE) * (rng.random(SIZE) < 0.3)
    g = x.T @ (x @ w - rng.normal(size=RANK)) / RANK
    return QuadraticModel(x.T @ x / RANK + ridge * np.eye(SIZE), threshold), g, w


@pytest.mark.parametrize("level", [0.3, 0.01, 1e-4])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
@pytest.mark.parametrize("part", [0.5, 0.01, 1e-4])
def test_an_approximate_solution_leaves_its_part_of_the_violation(part, ridge, level):
    for seed in range(3):
        target, g, w = model(seed, ridge, level)
        p = target.approach(g, w, part)
        before = largest_violation(w, g, target.threshold)
        assert largest_violation(w + p, g + target.h @ p, target.threshold) <= part * before + 1e-12
        assert first_order_change(w, g, p, target.threshold).sum() < 0


@pytest.mark.parametrize("level", [0.3, 0.01])
def test_the_exact_solution_is_the_same_by_both_ways(level):
    target, g, w = model(5, 1e-2, level)
    np.testing.assert_allclose(target.approach(g, w, 0.0), target.minimise(g, w), atol=1e-9)


def test_the_least_subgradient_vanishes_where_the_threshold_allows():
    w, g = np.array([0.0, 0.0, 1.0, -1.0]), np.array([0.4, -2.0, -1.0, 0.5])
    assert least_subgradient(w, g, np.ones(4)).tolist() == [0.0, -1.0, 0.0, -0.5]


@pytest.mark.parametrize("shared", [True, False])
def test_neighbours_are_solved_one_after_the_other_as_well_as_alone(shared):
    made = [model(seed, 0.0, 0.05) for seed in range(3)]
    h = [made[0 if shared else k][0].h * (1.0 if shared else 1.0 + k) for k in range(1 if shared else 3)]
    g, w = (np.array([one[part] for one in made]) for part in (1, 2))
    ridge, threshold = np.full_like(w, 1e-2), np.array([level * made[0][0].threshold for level in (1.0, 0.5, 0.2)])
    found = approach_each(h, ridge, g, w, threshold, 1e-9)
    for k in range(3):
        bent = h[min(k, len(h) - 1)] + np.diag(ridge[k])
        before = largest_violation(w[k], g[k], threshold[k])
        assert largest_violation(w[k] + found[k], g[k] + bent @ found[k], threshold[k]) <= 1e-9 * before + 1e-12
