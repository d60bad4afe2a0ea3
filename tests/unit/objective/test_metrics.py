import math

import numpy as np
import pytest
from sklearn import metrics as reference

from mpiopt.comm.threads import spmd
from mpiopt.core.partition import block
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.metrics import metrics

SIZES = (1, 2, 3, 5)


def spread(size, target, margins, label, weight, loss=None):
    def main(comm):
        here = slice(*block(len(label), size, comm.rank))
        return metrics(target, margins[here], label[here], weight[here], comm, loss)

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
    got = spread(size, "binary", margin[:, None], label, weight, Loss.make("logistic"))
    chance = 1 / (1 + np.exp(-margin))
    assert got["AUC"] == pytest.approx(reference.roc_auc_score(label, margin, sample_weight=weight), abs=1e-14)
    assert got["log loss"] == pytest.approx(reference.log_loss(label, chance, sample_weight=weight), rel=1e-12)
    expected = reference.accuracy_score(label, np.sign(margin), sample_weight=weight)
    assert got["accuracy"] == pytest.approx(expected)
    by_hand = {
        "average precision": reference.average_precision_score(label, margin, sample_weight=weight),
        "Brier": reference.brier_score_loss(label, chance, sample_weight=weight),
        "deviance explained": reference.d2_log_loss_score(label, chance, sample_weight=weight),
    }
    assert {name: got[name] for name in by_hand} == pytest.approx(by_hand, rel=1e-12)


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
    assert got["Brier"] == pytest.approx(((chance - np.eye(4)[label.astype(int)]) ** 2).sum(axis=1).mean())
    chance **= 0.1  # scikit-learn clips probabilities
    chance /= chance.sum(axis=1, keepdims=True)
    explained = spread(size, "multiclass", 0.1 * margins, label, weight, Loss.make("softmax"))["deviance explained"]
    assert explained == pytest.approx(reference.d2_log_loss_score(label, chance))
    y = rng.normal(size=50)
    got = spread(size, "real", y + 0.1 * margins[:, 0], y, weight)
    assert got["R²"] == pytest.approx(reference.r2_score(y, y + 0.1 * margins[:, 0]))
    assert got["RMSE"] == pytest.approx(np.sqrt(np.mean((0.1 * margins[:, 0]) ** 2)))
    assert got["MAE"] == pytest.approx(np.mean(np.abs(0.1 * margins[:, 0])))


@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        ("poisson", lambda y, p, s: reference.d2_tweedie_score(y, p, power=1, sample_weight=s)),
        ("gamma", lambda y, p, s: reference.d2_tweedie_score(y, p, power=2, sample_weight=s)),
    ],
)
def test_the_deviance_explained_is_that_of_scikit_learn(loss, theirs):
    rng = np.random.default_rng(3)
    z, weight = 0.5 * rng.normal(size=60), rng.random(60) + 0.1
    y = (rng.poisson if loss == "poisson" else lambda mean: rng.gamma(2.0, mean / 2.0))(np.exp(z))
    member = Loss.make(loss)
    for size in (1, 3):
        got = spread(size, member.target, z[:, None], y.astype(float), weight, member)
        assert got["deviance explained"] == pytest.approx(theirs(y, np.exp(z), weight), rel=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_degenerate_cases(size):
    same = np.zeros(6)
    label = np.array([1.0, -1, 1, -1, -1, 1])
    assert spread(size, "binary", same, label, np.ones(6))["AUC"] == 0.5
    assert math.isnan(spread(size, "binary", same, np.ones(6), np.ones(6))["AUC"])
    assert spread(size, "real", same, same, np.ones(6))["R²"] == 1.0
