import math

import numpy as np
import pytest
from scipy import stats

from mpiopt.results.rate import line, rate, student


def test_a_line_goes_through_the_logarithms():
    x = np.arange(9.0)
    assert line(x, np.exp(1.0 - 0.7 * x)) == pytest.approx((-0.7, 0.0, 1.0), abs=1e-12)
    rng = np.random.default_rng(1)
    x = np.arange(20.0)
    found = [line(x, np.exp(-0.7 * x + rng.normal(size=20))) for _ in range(400)]
    assert np.mean([f.error for f in found]) == pytest.approx(np.std([f.slope for f in found]), rel=0.15)
    assert math.isnan(line(x[:2], x[:2] + 1.0).slope)
    assert line(x, np.where(x < 5, -1.0, np.exp(-x))).slope == pytest.approx(-1.0)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 6, 8, 12, 30, 1000])
def test_the_quantile_of_student(freedom):
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=5e-3)


def test_the_rate_is_that_of_the_late_part():
    epochs = np.arange(60.0)
    certificates = np.where(epochs < 10, 1.0, 0.8 ** (epochs - 10))
    found = rate(epochs, certificates)
    assert found.factor == pytest.approx(0.8, rel=1e-9)
    assert found.low == pytest.approx(found.high, rel=1e-6)
    assert found.points < 45


@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.90), (0.6, 0.85)])
def test_the_interval_holds_the_rate_also_where_noise_has_a_memory(memory, least):
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(300):
        noise = np.zeros(80)
        for k, e in enumerate(rng.normal(size=80)):
            noise[k] = memory * noise[k - 1] + e
        epochs = np.arange(80.0)
        found = rate(epochs, np.exp(-0.5 * epochs + 0.3 * noise))
        held += found.low <= math.exp(-0.5) <= found.high
    assert least <= held / 300 <= 0.99


@pytest.mark.parametrize(
    "certificates", [[], [1.0, 0.1, 0.01], [1.0] * 9, [0.1, 0.2, 0.4, 0.8, 1.0, 1.5], [0.0] * 9, [math.nan] * 9]
)
def test_no_rate_where_there_is_none(certificates):
    assert rate(np.arange(float(len(certificates))), np.array(certificates, float)) is None
