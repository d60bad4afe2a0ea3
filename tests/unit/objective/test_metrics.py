import math

import numpy as np
import pytest
from sklearn import metrics as reference

from mpiopt.comm.threads import spmd
from mpiopt.core.partition import block
from mpiopt.objective.metrics import metrics

SIZES = (1, 2, 3, 5)


def spread(size, target, margins, label, weight):
    def main(comm):
        here = slice(*block(len(label), size, comm.rank))
        return metrics(target, margins[here], label[here], weight[here], comm)

    found = spmd(size, main)
    assert all(f == found[0] or any(math.isnan(v) for v in f.values()) for f in found)
    return found[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [4, 200])
def test_binary_metrics_with_ties_and_weights(size, n):
    rng = np.random.default_rng(n)
    margin = np.round(rng.normal(size=n), 1)
    margin[margin == 0] = 0.05
    label = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
    weight = rng.random(n) + 0.1
    got = spread(size, "binary", margin[:, None], label, weight)
    chance = 1 / (1 + np.exp(-margin))
    assert got["AUC"] == pytest.approx(reference.roc_auc_score(label, margin, sample_weight=weight), abs=1e-14)
    assert got["log loss"] == pytest.approx(reference.log_loss(label, chance, sample_weight=weight), rel=1e-12)
    expected = reference.accuracy_score(label, np.sign(margin), sample_weight=weight)
    assert got["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("size", SIZES)
def test_multiclass_and_real_metrics(size):
    rng = np.random.default_rng(1)
    margins, label = rng.normal(size=(50, 4)) * 30, rng.integers(0, 4, 50).astype(float)
    weight = np.ones(50)
    got = spread(size, "multiclass", margins, label, weight)
    chance = np.exp(margins - margins.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    assert got["accuracy"] == pytest.approx(np.mean(np.argmax(margins, axis=1) == label))
    expected = -np.log(chance[np.arange(50), label.astype(int)]).mean()
    assert got["log loss"] == pytest.approx(expected)
    y = rng.normal(size=50)
    got = spread(size, "real", y + 0.1 * margins[:, 0], y, weight)
    assert got["R²"] == pytest.approx(reference.r2_score(y, y + 0.1 * margins[:, 0]))
    assert got["RMSE"] == pytest.approx(np.sqrt(np.mean((0.1 * margins[:, 0]) ** 2)))


@pytest.mark.parametrize("size", SIZES)
def test_degenerate_cases(size):
    same = np.zeros(6)
    label = np.array([1.0, -1, 1, -1, -1, 1])
    assert spread(size, "binary", same, label, np.ones(6))["AUC"] == 0.5
    assert math.isnan(spread(size, "binary", same, np.ones(6), np.ones(6))["AUC"])
    assert spread(size, "real", same, same, np.ones(6))["R²"] == 1.0
