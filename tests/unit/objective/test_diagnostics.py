"""ROC curves, calibration and residuals by bins: the same for rows that are divided among ranks."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from mpiopt.comm.threads import single, spmd
from mpiopt.objective import diagnostics
from mpiopt.objective.diagnostics import diagnose
from mpiopt.objective.losses.base import Loss

RNG = np.random.default_rng(8)
N = 3000
Z = RNG.normal(size=(N, 1)) * 2.0
WEIGHT = RNG.uniform(0.0, 2.0, N)
LABEL = np.where(RNG.random(N) < 1.0 / (1.0 + np.exp(-Z[:, 0])), 1.0, -1.0)


def on_ranks(ranks, loss, z, label, weight=WEIGHT):
    def main(comm):
        mine = slice(comm.rank, None, comm.size)
        if comm.rank == 2:
            mine = slice(0, 0)
        if comm.size == 3 and comm.rank < 2:
            mine = slice(comm.rank, None, 2)
        return diagnose(Loss.make(loss), z[mine], label[mine], weight[mine], "rows", comm)

    return spmd(ranks, main)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_curve_of_two_classes_has_the_area_and_the_calibration_of_all_rows(ranks):
    from mpiopt.results.html.model import roc_points

    for found in on_ranks(ranks, "logistic", Z, LABEL):
        scores = found.scores
        false, true = roc_points(scores)
        area = np.trapezoid(true, false)
        assert area == pytest.approx(roc_auc_score(LABEL, Z[:, 0], sample_weight=WEIGHT), abs=1e-3)
        assert scores["positive"].sum() == pytest.approx(WEIGHT[LABEL > 0].sum())
        whole = scores["positive"] + scores["negative"]
        chance = WEIGHT @ (1.0 / (1.0 + np.exp(-Z[:, 0])))
        assert scores["probability"] @ whole == pytest.approx(chance)
        assert len(scores) <= diagnostics.SCORE_BINS
        assert (np.diff(scores["margin"]) > 0).all()
        assert whole.max() < 3.0 * whole.mean()  # about equally many rows in each
        assert np.abs(scores["positive"] / whole - scores["probability"]).mean() < 0.15


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_means_and_residuals_of_numbers_are_those_of_all_rows(ranks):
    target = np.exp(0.3 * Z[:, 0]) + RNG.normal(size=N)
    for found in on_ranks(ranks, "poisson", 0.3 * Z, target):
        means, mean = found.means, np.exp(0.3 * Z[:, 0])
        whole = WEIGHT.sum()
        assert means["weight"].sum() == pytest.approx(whole)
        assert means["weight"] @ means["predicted"] == pytest.approx(WEIGHT @ mean)
        assert means["weight"] @ means["observed"] == pytest.approx(WEIGHT @ target)
        assert means["weight"] @ means["residual"] ** 2 == pytest.approx(WEIGHT @ (target - mean) ** 2)
        assert found.residuals["weight"].sum() == pytest.approx(whole)
        middle = 0.5 * (found.residuals["low"] + found.residuals["high"])
        width = found.residuals["high"][0] - found.residuals["low"][0]
        assert middle @ found.residuals["weight"] / whole == pytest.approx(
            WEIGHT @ (target - mean) / whole, abs=width
        )


def test_the_table_of_more_classes_counts_each_row():
    z, label = RNG.normal(size=(N, 3)), RNG.integers(0, 3, N).astype(float)
    expected = confusion_matrix(label, z.argmax(axis=1), sample_weight=WEIGHT)
    for ranks in (1, 2):
        for found in on_ranks(ranks, "softmax", z, label):
            np.testing.assert_allclose(found.confusion, expected)
    many = diagnostics.MOST_CLASSES + 1
    assert diagnose(Loss.make("softmax"), np.zeros((2, many)), np.zeros(2), np.ones(2), "rows", single()) is None


def test_equal_and_infinite_predictions_and_no_probabilities():
    same = diagnose(Loss.make("logistic"), np.zeros((5, 1)), LABEL[:5], np.ones(5), "rows", single())
    assert len(same.scores) == 1
    hinge = diagnose(Loss.make("squared-hinge"), Z, LABEL, WEIGHT, "rows", single())
    assert np.isnan(hinge.scores["probability"]).all()
    far = diagnose(Loss.make("poisson"), np.array([[1e3], [0.0]]), np.ones(2), np.ones(2), "rows", single())
    assert far.means["weight"].sum() == 1.0
