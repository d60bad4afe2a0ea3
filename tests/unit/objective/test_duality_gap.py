"""Certificates from a gradient with a known error bound the true ones."""

import numpy as np
import pytest

from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective.duality_gap import duality_gap, gap_of_gradient, label_statistics
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from tests.cases.problems import objective


@pytest.mark.parametrize("loss", ["logistic", "squared", "softmax"])
@pytest.mark.parametrize("penalty", [(0.0, 0.05), (0.02, 0.05), (0.02, 0.0)], ids=str)
def test_a_certificate_from_a_wrong_gradient_bounds_the_true_one(loss, penalty):
    def main(comm):
        rng = np.random.default_rng(1)
        target, channel = objective(loss, *penalty, "dense", comm), Channel(comm)
        labels = label_statistics(target, channel)
        state = Newton().init(target, channel)
        for k in range(15):
            Newton().step(k, state, target, channel)
        for far in (0.0, 1e-3, 1.0):
            w = state.w + far * rng.normal(size=state.w.shape) * (np.arange(target.width) < 7)
            exact = evaluate_exact(target, w, channel)
            true = gap_of_gradient(target, w, exact, labels)
            for size in (1e-9, 1e-4, 0.1):
                for e in worst(exact, target, w, rng):
                    e *= size / max(np.linalg.norm(e), 1e-300)
                    wrong = Evaluation(exact.value, exact.gradient + e, size)
                    assert gap_of_gradient(target, w, wrong, labels) >= true * (1 - 1e-9) - 1e-15

    spmd(1, main)


def worst(exact, target, w, rng):
    """Yield directions of an error: any, one column, the intercept alone, and where the gap falls fastest."""
    used = np.arange(target.width) < 7
    yield rng.normal(size=w.shape) * used
    yield np.ones_like(w) * (np.arange(target.width) == 2)
    yield np.sign(w + 1e-9) * (np.arange(target.width) == 6)
    yield -(exact.gradient + target.ridge * w) * used
    yield -exact.gradient * used


def test_the_ridge_attains_the_bound():
    w, v, e = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]]), 0.5
    ones, zeros = np.full(2, 2.0), np.zeros(2)
    slope = v / 2.0 - w
    worst = v + e * slope / np.linalg.norm(slope)
    assert duality_gap(w, v, zeros, ones, e) == pytest.approx(duality_gap(w, worst, zeros, ones), rel=1e-12)
