"""Laws of every network: its gradient is the derivative, float32 is float64 rounded, and steps along it learn."""

import numpy as np
import pytest

from mpiopt.core.rng import generator
from mpiopt.studies.parameter_server.networks.base import Network, Shape

IMAGE, REAL = Shape(64, 3), Shape(5, 0)
CASES = [
    ("cnn", {"channels": 2, "hidden": 6}, IMAGE),
    ("cnn", {"channels": 1, "hidden": 5, "relu_on_logits": True, "dropout": 0.0}, IMAGE),
    ("mlp", {"hidden": 7}, IMAGE),
    ("linear", {"l2": 0.1}, IMAGE),
    ("linear", {"loss": "logistic", "l2": 0.1}, Shape(5, 2)),
    ("linear", {"loss": "squared"}, REAL),
]


def rows(shape, n=6):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, shape.features))
    y = rng.integers(0, shape.classes, n).astype(float) if shape.classes else x @ np.arange(1.0, 6.0)
    return x, y


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1].get('loss', len(case[1]))}")
def case(request):
    name, options, shape = request.param
    return Network.make(name, options), shape, *rows(shape)


def test_every_network_is_tried():
    assert {name for name, _, _ in CASES} == set(Network.known())


def test_the_gradient_is_the_derivative(case):
    network, shape, x, y = case
    rng = np.random.default_rng(2)
    w = network.start(shape, rng) + 0.05 * rng.standard_normal(network.size(shape))
    dropped = lambda: generator(3, 0, 0, 0)  # noqa: E731  the same numbers drop out every time
    _, g = network.value_gradient(w, x, y, shape, dropped())
    assert g.shape == w.shape == (network.size(shape),)
    assert g.dtype == np.float64
    for v in np.eye(len(w))[rng.choice(len(w), min(len(w), 40), replace=False)]:
        h = 1e-6 * v
        change = (
            network.value_gradient(w + h, x, y, shape, dropped())[0]
            - network.value_gradient(w - h, x, y, shape, dropped())[0]
        )
        assert g @ v == pytest.approx(change / 2e-6, rel=1e-5, abs=1e-7)


def test_float32_is_float64_rounded(case):
    network, shape, x, y = case
    w = network.start(shape, np.random.default_rng(2)) + 0.01
    wide = network.value_gradient(w, x, y, shape, None)
    narrow = network.value_gradient(w.astype(np.float32), x.astype(np.float32), y, shape, None)
    assert narrow[1].dtype == np.float32
    assert narrow[0] == pytest.approx(wide[0], rel=1e-5)
    assert np.allclose(narrow[1], wide[1], atol=1e-5 * np.abs(wide[1]).max())


def test_steps_along_it_learn(case):
    network, shape, x, y = case
    w = network.start(shape, np.random.default_rng(2))
    first, worse = network.value_gradient(w, x, y, shape, None)[0], network.accuracy(w, x, y, shape)
    for _ in range(300):
        w = w - 0.05 * network.value_gradient(w, x, y, shape, None)[1]
    assert network.value_gradient(w, x, y, shape, None)[0] < 0.8 * first
    assert worse <= network.accuracy(w, x, y, shape) <= 1.0


def test_the_paper_s_network_has_its_parameters():
    assert Network.make("cnn").size(Shape(784, 10)) == 813258


def test_dropout_keeps_the_mean_and_is_off_without_randomness():
    from mpiopt.studies.parameter_server.networks.layers import Dropout

    x = np.ones((200, 500))
    y, kept = Dropout(0.25).forward(x[:0], x, np.random.default_rng(0))
    assert y.mean() == pytest.approx(1.0, abs=0.01)
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert (Dropout(0.25).back(x[:0], kept, x) == y).all()
    assert Dropout(0.25).forward(x[:0], x, None)[0] is x


def test_the_maximum_of_equal_pixels_is_one_pixel():
    from mpiopt.studies.parameter_server.networks.layers import Pool

    x = np.ones((1, 4, 4, 2))
    y, kept = Pool().forward(x[:0], x, None)
    dx = Pool().back(x[:0], kept, np.arange(8.0).reshape(y.shape))
    assert dx.sum() == 28.0
    assert (np.count_nonzero(dx, axis=(1, 2)) <= 4).all()


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("cnn", {}, Shape(50, 10), "square images"),
        ("cnn", {}, Shape(36, 10), "multiple of 4"),
        ("cnn", {}, Shape(64, 0), "0 classes"),
        ("mlp", {}, Shape(4, 0), "not a real target"),
        ("linear", {"loss": "squared"}, Shape(4, 2), "takes real labels, not 2 classes"),
        ("linear", {"loss": "softmax"}, Shape(4, 0), "takes multiclass labels, not a real target"),
    ],
)
def test_data_that_do_not_suit_are_refused(name, options, shape, message):
    with pytest.raises(ValueError, match=message):
        Network.make(name, options).size(shape)


@pytest.mark.parametrize(
    ("name", "options"),
    [("cnn", {"channels": 0}), ("cnn", {"dropout": 1.0}), ("mlp", {"hidden": 0}), ("linear", {"l2": -1.0})],
)
def test_options_out_of_range_are_refused(name, options):
    with pytest.raises(ValueError, match="must be"):
        Network.make(name, options)
