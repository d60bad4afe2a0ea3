"""A duality gap is an upper bound on F(w) − F*, for every loss and penalty, with an intercept."""

import numpy as np
import pytest

from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective import duality_gap
from mpiopt.objective.duality_gap import certify
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from tests.cases.problems import SIZES, objective

PENALTIES = {"ridge": (0.0, 0.05), "elastic-net": (0.02, 0.05), "lasso": (0.02, 0.0)}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", sorted(Loss.known()))
def test_the_gap_bounds_the_distance_and_vanishes_at_the_optimum(loss, penalty):
    def main(comm):
        target, channel = objective(loss, *PENALTIES[penalty], "dense", comm), Channel(comm, seed=3)
        labels, start = duality_gap.label_statistics(target, channel), evaluate_exact(target, target.zeros(), channel)
        state = Newton().init(target, channel)
        for k in range(40):
            Newton().step(k, state, target, channel)
        best = evaluate_exact(target, state.w, channel)
        last = certify(target, state.w, best, start, labels)
        assert last.kind == "duality gap"
        assert 0.0 <= last.value < 1e-7
        rng = np.random.default_rng(0)
        for size in (1e-6, 1e-3, 0.1, 1.0):
            w = state.w + size * rng.normal(size=state.w.shape) * (np.arange(target.width) < 7)
            exact = evaluate_exact(target, w, channel)
            found = certify(target, w, exact, start, labels)
            assert found.value * (exact.value - labels.floor) >= exact.value - best.value - 1e-12
            b = state.w[:, 6] - (state.w[:, 6].mean() if target.outputs > 1 else 0.0)
            above, (l1, l2) = exact.value - labels.floor, target.penalty.strengths
            norm = np.sqrt(2 * above / l2) if l2 else above / l1
            assert np.abs(b).max() <= target.loss.intercept_bound(labels, above, norm)
        return labels

    found = [spmd(size, main)[0] for size in SIZES]
    for labels in found[1:]:
        assert labels.mean_label == pytest.approx(found[0].mean_label)
        assert labels.rarest_share == pytest.approx(found[0].rarest_share)


def test_without_a_penalty_the_certificate_is_a_gradient_norm():
    def main(comm):
        target, channel = objective("squared", 0.0, 0.0, "dense", comm), Channel(comm, seed=3)
        start = evaluate_exact(target, target.zeros(), channel)
        return certify(target, target.zeros(), start, start, duality_gap.label_statistics(target, channel))

    assert spmd(2, main)[0] == ("gradient norm", 1.0)
