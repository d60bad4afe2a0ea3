"""The gaps of several models at once are those of each model alone."""

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective import dual_points
from mpiopt.objective.dual_point import EvaluatedRows, bound_at
from mpiopt.objective.dual_points import EvaluatedModels, gaps_at
from mpiopt.objective.duality_gap import VALUE_ROUNDING, expected_gap, expected_gaps
from mpiopt.objective.evaluation import Evaluation
from mpiopt.training.path_points import PathStart
from mpiopt.training.path_set import ColumnSet
from tests.cases.problems import objective

STRENGTHS = np.array([0.3, 0.05, 0.01])


@pytest.mark.parametrize("block", [7, 1 << 14])
@pytest.mark.parametrize("loss", ["squared", "logistic", "poisson", "gamma"])
@pytest.mark.parametrize(("l1_ratio", "size", "form"), [(1.0, 1, "dense"), (0.5, 2, "csr"), (1.0, 3, "csr")])
def test_gaps_of_models_are_those_of_each_alone(monkeypatch, loss, l1_ratio, size, form, block):
    monkeypatch.setattr(dual_points, "BLOCK", block)

    def main(comm):
        channel = Channel(comm, 0)
        start = PathStart.of(objective(loss, 0.1, 0.1, form, comm), l1_ratio, channel)
        posed, d = start.objective, start.objective.shard.features
        part = ColumnSet.of(posed, channel, np.arange(d + 1))
        w = np.zeros((3, d + 1)) + start.objective.origin()[0, : d + 1]
        w[1:, :d] += 0.02 * np.random.default_rng(0).normal(size=(2, d))
        found = part.evaluate(w)
        full, gradient = np.zeros((3, posed.width)), np.zeros((3, posed.width))
        full[:, : d + 1], gradient[:, : d + 1] = found.w, found.gradient
        at = EvaluatedModels(full, found.margins, found.slopes, found.loss, gradient)
        labels = [start.labels_at(float(strength)) for strength in STRENGTHS]
        value, gap = gaps_at(posed, STRENGTHS, at, labels, channel, np.zeros(3))
        for k, strength in enumerate(STRENGTHS):
            one = start.at(float(strength))
            rows = EvaluatedRows(
                full[k : k + 1],
                found.margins[k][:, None],
                found.slopes[k][:, None],
                float(found.loss[k]),
                gradient[k : k + 1],
            )
            alone = bound_at(one, rows, labels[k], channel)
            assert value[k] == pytest.approx(alone.value, rel=1e-13)
            known = alone.value - alone.lower + VALUE_ROUNDING * abs(alone.value)
            assert gap[k] == pytest.approx(known, rel=1e-6, abs=1e-13)
            roughly = expected_gap(one, full[k : k + 1], Evaluation(alone.value, gradient[k : k + 1]), labels[k])
            v = -gradient[k : k + 1] + gradient[k, d] * labels[k].mean_row_vector
            parts = full[k : k + 1, :d], v[:, :d], one.threshold[None, :d], one.ridge[None, :d]
            assert expected_gaps(*parts, np.array([alone.value - labels[k].floor]))[0] == pytest.approx(roughly)
        return gap

    every = spmd(size, main)
    assert all(np.array_equal(one, every[0]) for one in every)
    assert np.isfinite(every[0]).all()
    assert (every[0] > 0.0).all()


def test_a_model_without_a_finite_value_has_no_gap():
    def main(comm):
        channel = Channel(comm, 0)
        start = PathStart.of(objective("poisson", 0.1, 0.1, "dense", comm), 1.0, channel)
        n, width = len(start.objective.shard), start.objective.width
        at = EvaluatedModels(
            np.zeros((1, width)), np.zeros((1, n)), np.zeros((1, n)), np.array([np.inf]), np.zeros((1, width))
        )
        return gaps_at(start.objective, np.ones(1), at, [start.labels], channel, np.zeros(1))

    assert spmd(1, main)[0].gap.tolist() == [np.inf]
