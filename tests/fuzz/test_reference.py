"""The reference of the fuzzer is right: exact rational least squares, scipy, known optima, classes made separable."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize

from tests.fuzz.draw import draw
from tests.fuzz.losses import LD, long_loss
from tests.fuzz.recession import has_optimum
from tests.fuzz.reference import exact, optimum


def posed(x, y, loss, **changes):
    """Return a problem without penalty, intercept and weights, or with these changes."""
    plain = {"loss": loss, "x": x, "y": y, "weight": None, "l1": 0.0, "l2": 0.0, "intercept": False}
    return replace(draw(0), **plain | changes)


def rational_least_squares(x, y):
    """Return the least Σ ½ r² / n of a dense problem of full rank, by Gauss-Jordan on fractions."""
    rows = [[Fraction(float(v)) for v in row] for row in x]
    labels = [Fraction(float(v)) for v in y]
    d = len(rows[0])
    a = [[sum(r[i] * r[j] for r in rows) for j in range(d)] for i in range(d)]
    b = [sum(r[i] * t for r, t in zip(rows, labels, strict=True)) for i in range(d)]
    for i in range(d):
        pivot = next(k for k in range(i, d) if a[k][i])
        a[i], a[pivot], b[i], b[pivot] = a[pivot], a[i], b[pivot], b[i]
        for k in range(d):
            if k != i:
                factor = a[k][i] / a[i][i]
                a[k] = [p - factor * q for p, q in zip(a[k], a[i], strict=True)]
                b[k] -= factor * b[i]
    w = [b[i] / a[i][i] for i in range(d)]
    residuals = [sum(p * q for p, q in zip(r, w, strict=True)) - t for r, t in zip(rows, labels, strict=True)]
    return sum(r * r for r in residuals) / 2 / len(rows)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12])
def test_least_squares_is_that_of_fractions(offset):
    rng = np.random.default_rng(3)
    x = np.round(rng.standard_normal((30, 3)) * 1024) / 1024 + offset
    y = x[:, 0] - offset + rng.standard_normal(30)
    right = rational_least_squares(np.column_stack([x, np.ones(30)]), y)
    found = optimum(exact(posed(x * [1e-9, 1.0, 2.0**30], y, "squared", intercept=True)))
    right_in_units = rational_least_squares(np.column_stack([x * [1e-9, 1.0, 2.0**30], np.ones(30)]), y)
    assert abs(found.value - LD(float(right_in_units))) <= 1e-15 * found.value
    assert offset or abs(right - right_in_units) < 1e-12


@pytest.mark.parametrize("loss", ["logistic", "squared-hinge", "poisson", "huber[delta=0.5]", "softmax"])
@pytest.mark.parametrize("l1", [0.0, 0.01])
def test_scipy_finds_no_lower_value_and_nearly_as_low_a_one(loss, l1):
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((60, 4)), rng.integers(0, 3 if loss == "softmax" else 2, 60).astype(float)
    problem = exact(posed(x, y, loss, l1=l1, l2=0.02, intercept=True))
    mine, found = long_loss(loss, y), optimum(problem)

    def value(u):  # the positive and negative parts of w, then b
        part = u[: 8 * mine.outputs].reshape(2, mine.outputs, 4)
        w, b = part[0] - part[1], u[8 * mine.outputs :]
        smooth = mine.values((x @ w.T + b).astype(LD)).mean()
        return float(smooth + l1 * part.sum() + 0.01 * (w * w).sum())

    bounds = [(0, None)] * (8 * mine.outputs) + [(None, None)] * mine.outputs
    theirs = minimize(value, np.full(9 * mine.outputs, 0.1), bounds=bounds, options={"ftol": 1e-14, "maxfun": 10**6})
    assert -1e-15 <= theirs.fun - float(found.value) <= 1e-6


@pytest.mark.parametrize("seed", range(200, 240))
def test_what_is_left_is_far_below_every_tolerance(seed):
    problem = exact(draw(seed))
    if has_optimum(problem):
        found = optimum(problem)
        assert found.left <= 1e-13 * max(problem.scale(found.value), LD(1e-300))


def test_values_slopes_and_curvatures_belong_together():
    rng, h = np.random.default_rng(2), LD(1e-7)
    known = ("logistic", "squared", "huber[delta=0.7]", "squared-hinge", "poisson", "softmax", "binomial", "gamma")
    for loss in (*known, "tweedie[power=1.3]", "negative-binomial[theta=3]", "quantile[tau=0.3,width=0.6]"):
        y = rng.integers(0, 3 if loss == "softmax" else 2, 40) + (loss == "gamma")
        mine = long_loss(loss, y)
        z = rng.standard_normal((40, mine.outputs)).astype(LD)
        for c in range(mine.outputs):
            step = np.zeros_like(z)
            step[:, c] = h
            slope = (mine.values(z + step) - mine.values(z - step)) / (2 * h)
            curvature = (mine.slopes(z + step) - mine.slopes(z - step)) / (2 * h)
            assert np.abs(slope - mine.slopes(z)[:, c]).max() < 1e-9
            assert np.abs(curvature - mine.curvatures(z)[:, c]).max() < 1e-9


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_classes_are_separable_where_they_were_made_so(loss):
    x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]])
    ends = {"logistic": np.array([0, 0, 0, 1, 1, 1.0]), "softmax": np.array([0, 0, 1, 1, 2, 2.0])}[loss]
    mixed = ends[[3, 0, 4, 5, 1, 2]] if loss == "softmax" else np.array([0, 1, 0, 1, 0, 1.0])
    assert not has_optimum(exact(posed(x, ends, loss, intercept=True)))
    assert has_optimum(exact(posed(x, mixed, loss, intercept=True)))
    assert has_optimum(exact(posed(x, ends, loss, intercept=True, l2=1e-9)))
    touching = np.array([0, 0, 1, 0, 1, 1.0])
    x_touching = np.array([[0.0], [1.0], [2.0], [2.0], [3.0], [4.0]])
    if loss == "logistic":  # both classes at one point: quasi-separable
        assert not has_optimum(exact(posed(x_touching, touching, loss, intercept=True)))
    absent = np.where(ends == ends.max(), 0.0, 1.0)  # the class has no weight: its intercept has no end
    assert not has_optimum(exact(posed(x, ends, loss, intercept=True, l2=1.0, weight=absent)))


def test_counts_have_no_optimum_where_a_category_has_none():
    x = sp.csr_matrix(np.array([[1.0], [1.0], [0.0], [0.0]]))
    assert not has_optimum(exact(posed(x, np.array([0.0, 0, 2, 3]), "poisson", intercept=True)))
    assert has_optimum(exact(posed(x, np.array([0.0, 1, 2, 3]), "poisson", intercept=True)))
    assert not has_optimum(exact(posed(x, np.zeros(4), "poisson", intercept=True, l2=1.0)))
