"""Each loss against its formula in numpy and against finite differences, at ordinary and at huge margins."""

import numpy as np
import pytest

from mpiopt.objective.losses.base import Loss
from mpiopt.objective.losses.huber import Huber

rng = np.random.default_rng(5)


def labels(loss, n, outputs=5):
    kinds = {
        "binary": lambda: rng.choice([-1.0, 1.0], n),
        "multiclass": lambda: rng.integers(0, outputs, n).astype(float),
        "real": lambda: rng.standard_normal(n),
        "count": lambda: rng.poisson(2.0, n).astype(float),
        "positive": lambda: rng.gamma(2.0, 1.0, n) + 0.01,
        "rate": lambda: rng.integers(0, 5, n) / 4,
    }
    return kinds[loss.target]()


def formula(loss, z, y):
    m = y * z[:, 0]
    r = np.abs(z[:, 0] - y)
    top = z.max(axis=1)
    return {
        "squared": lambda: 0.5 * r**2,
        "logistic": lambda: np.logaddexp(0, -m),
        "huber": lambda: np.where(r > 1, r - 0.5, 0.5 * r**2),
        "squared-hinge": lambda: np.maximum(0, 1 - m) ** 2,
        "poisson": lambda: np.exp(z[:, 0]) - m,
        "gamma": lambda: y * np.exp(-z[:, 0]) + z[:, 0],
        "tweedie": lambda: 2 * y * np.exp(-z[:, 0] / 2) + 2 * np.exp(z[:, 0] / 2),
        "inverse-gaussian": lambda: y * z[:, 0] ** 2 / 2 - z[:, 0],
        "negative-binomial": lambda: (y + 1) * np.logaddexp(0, z[:, 0]) - y * z[:, 0],
        "binomial": lambda: np.logaddexp(0, z[:, 0]) - y * z[:, 0],
        "quantile": lambda: np.where(r > 1, r, 0.5 * r**2 + 0.5) / 2,
        "softmax": lambda: np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - z[np.arange(len(y)), y.astype(int)],
    }[loss.name]()


@pytest.fixture(params=sorted(Loss.known()))
def loss(request):
    return Loss.make(request.param)


def margins(loss, n, spread):
    return spread * rng.standard_normal((n, loss.outputs(5)))


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1001])
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_value_is_the_formula(loss, n, spread):
    z, y = margins(loss, n, spread), labels(loss, n)
    np.testing.assert_allclose(loss.value(z, y), formula(loss, z, y), rtol=2e-15, atol=2e-14)


def test_slope_is_the_derivative_of_the_value(loss):
    z, y, h = margins(loss, 300, 2.0), labels(loss, 300), 1e-6
    for c in range(z.shape[1]):
        step = h * np.eye(z.shape[1])[c]
        difference = (loss.value(z + step, y) - loss.value(z - step, y)) / (2 * h)
        np.testing.assert_allclose(loss.slope(z, y)[:, c], difference, rtol=1e-6, atol=1e-7)


def test_curvature_is_the_derivative_of_the_slope(loss):
    if loss.name == "softmax":
        pytest.skip("a bound; see below")
    z, y, h = margins(loss, 300, 2.0), labels(loss, 300), 1e-6
    smooth = loss.curvature(z + h, y) == pytest.approx(loss.curvature(z - h, y), rel=1e-3)
    assert smooth
    difference = (loss.slope(z + h, y) - loss.slope(z - h, y))[:, 0] / (2 * h)
    np.testing.assert_allclose(loss.curvature(z, y), difference, rtol=1e-6, atol=1e-8)


def test_softmax_curvature_bounds_the_hessian():
    loss = Loss.make("softmax")
    for spread in (0.1, 1.0, 5.0):
        z, y = margins(loss, 200, spread), labels(loss, 200)
        p = loss.slope(z, y) + np.eye(5)[y.astype(int)]
        largest = [np.linalg.eigvalsh(np.diag(q) - np.outer(q, q))[-1] for q in p]
        bound = loss.curvature(z, y)
        assert (bound >= np.array(largest) - 1e-14).all()
        assert (bound <= 0.5).all()


@pytest.mark.parametrize("name", ["softmax", "logistic"])
def test_of_a_sure_row_every_digit_is_known(name):
    # Margins far ahead of the others: 1 - p_y is so small that a difference from 1 would leave rounding alone.
    loss, ahead = Loss.make(name), np.array([1.0, 10.0, 20.0, 30.0, 36.0, 60.0])
    z = np.stack([ahead, np.zeros(6), -np.ones(6)], axis=1) if name == "softmax" else ahead[:, None]
    y = np.zeros(6) if name == "softmax" else np.ones(6)
    exact = z.astype(np.longdouble)
    others = np.exp(exact[:, 1:] - exact[:, :1]) if name == "softmax" else np.exp(-exact)
    rest = others.sum(axis=1) / (1 + others.sum(axis=1))
    value, slopes = loss.value(z, y), loss.slope(z, y)
    np.testing.assert_allclose(value, np.log1p(others.sum(axis=1)).astype(float), rtol=1e-15)
    np.testing.assert_allclose(slopes[:, 0], -rest.astype(float), rtol=1e-15)
    assert loss.conjugate(slopes, y) == pytest.approx((slopes * z).sum(axis=1) - value, rel=1e-14, abs=0.0)
    if name == "softmax":
        assert np.abs(slopes.sum(axis=1) / slopes[:, 0]).max() <= 1e-15  # no dual point otherwise
        p = others / (1 + others.sum(axis=1))[:, None]
        mean = ((1 - rest) * rest + (p * (1 - p)).sum(axis=1)) / 2
        np.testing.assert_allclose(loss.mean_curvature(z, y), mean.astype(float), rtol=1e-15)
        np.testing.assert_allclose(loss.curvature(z, y), np.minimum(2 * (1 - rest) * rest, 1 - rest), rtol=1e-14)


def test_curvature_bound_holds_and_is_reached(loss):
    if loss.curvature_bound is None:
        assert loss.name in ("poisson", "gamma", "tweedie", "negative-binomial", "inverse-gaussian")
        return
    # In steps of 0.01 from -3 to 3: 0 for the logistic loss, between the kinks for the others.
    z = np.zeros((601, loss.outputs(2)))
    z[:, 0] = np.linspace(-3, 3, 601)
    y = np.zeros(601) if loss.target != "binary" else np.ones(601)
    c = loss.curvature(z, y)
    assert c.max() == pytest.approx(loss.curvature_bound, rel=1e-12)
    assert c.max() <= loss.curvature_bound


def test_huge_margins_stay_finite_and_exact():
    logistic = Loss.make("logistic")
    z, y = np.array([[1e4], [-1e4], [1e300]]), np.ones(3)
    assert logistic.value(z, y).tolist() == [0.0, 1e4, 0.0]
    assert logistic.slope(z, y)[:, 0].tolist() == pytest.approx([0.0, -1.0, 0.0], abs=1e-300)
    assert logistic.curvature(z, y).tolist() == [0.0, 0.0, 0.0]
    softmax = Loss.make("softmax")
    z, y = np.array([[1e5, 0.0, -1e5], [1e300, -1e300, 0.0]]), np.array([1.0, 0.0])
    assert softmax.value(z, y).tolist() == [1e5, 0.0]
    assert softmax.slope(z, y).tolist() == [[1, -1, 0], [0, 0, 0]]
    poisson = Loss.make("poisson")
    assert poisson.value(np.array([[1e4]]), np.ones(1)) == [np.inf]
    assert poisson.slope(np.array([[-1e4]]), np.ones(1)) == [-1.0]


def test_nan_margins_give_nan(loss):
    z, y = np.full((9, loss.outputs(3)), np.nan), np.ones(9)
    assert np.isnan(loss.value(z, y)).all()
    assert np.isnan(loss.slope(z, y)[:, 0]).all()


def test_huber_uses_its_delta():
    z, y = np.array([[0.5], [3.0], [-3.0]]), np.zeros(3)
    assert Huber(2.0).value(z, y).tolist() == [0.125, 4.0, 4.0]
    assert Huber(0.25).slope(z, y)[:, 0].tolist() == [0.25, 0.25, -0.25]
    assert Huber(0.25).curvature(z, y).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="delta must be a positive number, not -1"):
        Huber(-1.0)


def test_options_are_those_of_the_formula():
    assert {name: list(kind.options()) for name, kind in Loss.known().items()} == {
        "binomial": [],
        "gamma": [],
        "huber": ["delta"],
        "inverse-gaussian": [],
        "logistic": [],
        "negative-binomial": ["theta", "profile"],
        "poisson": [],
        "quantile": ["tau", "width"],
        "softmax": [],
        "squared": [],
        "squared-hinge": [],
        "tweedie": ["power"],
    }


def test_a_smoothed_loss_is_above_what_it_smooths_by_no_more_than_it_says(loss):
    if loss.name != "quantile":
        assert loss.smoothing == 0.0
        return
    for tau, width in ((0.5, 1.0), (0.9, 0.2)):
        member = Loss.make("quantile", {"tau": tau, "width": width})
        r = np.concatenate([[0.0], np.linspace(-3.0, 3.0, 4001)])
        above = member.value(r[:, None], np.zeros(len(r))) - np.maximum(-tau * r, (1.0 - tau) * r)
        assert above.min() >= -1e-15
        assert above[0] == above.max() == pytest.approx(member.smoothing)
