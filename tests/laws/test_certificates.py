"""A duality gap is an upper bound on F(w) − F*, for every loss and penalty, with an intercept."""

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.objective import decrement, duality_gap
from mpiopt.objective.certificate import Certifier
from mpiopt.objective.decrement import is_measurable
from mpiopt.objective.dual_point import bound_from_below
from mpiopt.objective.duality_gap import gap_of_gradient
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.nearby import TUNING, Nearby
from tests.cases.problems import SIZES, at_optimum, objective

PENALTIES = {"ridge": (0.0, 0.05), "elastic-net": (0.02, 0.05), "lasso": (0.02, 0.0)}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", sorted(Loss.known()))
def test_the_gap_bounds_the_distance_and_vanishes_at_the_optimum(loss, penalty):
    def main(comm):
        target, channel = objective(loss, *PENALTIES[penalty], "dense", comm), Channel(comm, seed=3)
        labels = duality_gap.label_statistics(target, channel)
        state = at_optimum(target, channel)
        best = evaluate_exact(target, state.w, channel)
        assert 0.0 <= gap_of_gradient(target, state.w, best, labels) < 1e-7 * (best.value - labels.floor)
        rng = np.random.default_rng(0)
        for size in (1e-6, 1e-3, 0.1, 1.0):
            w = state.w + size * rng.normal(size=state.w.shape) * (np.arange(target.width) < 7)
            exact = evaluate_exact(target, w, channel)
            assert gap_of_gradient(target, w, exact, labels) >= exact.value - best.value - 1e-12
            bound = bound_from_below(target, w, labels, channel)
            assert bound.lower <= best.value + 1e-13
            assert bound.value <= exact.value + 1e-13
            # Far away the bound is a small difference of large numbers: their rounding counts.
            assert bound_from_below(target, 1e9 * w, labels, channel).lower <= best.value
            b = state.w[:, 6] - (state.w[:, 6].mean() if target.outputs > 1 else 0.0)
            above, l2 = exact.value - labels.floor, target.penalty.strengths[1]
            norm = np.sqrt(2 * above) if l2 else above
            assert np.abs(b).max() <= target.loss.intercept_bound(labels, above, norm)
        return labels

    found = [spmd(size, main)[0] for size in SIZES]
    for labels in found[1:]:
        assert labels.mean_label == pytest.approx(found[0].mean_label)
        assert labels.rarest_share == pytest.approx(found[0].rarest_share)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", sorted(Loss.known()))
def test_the_dual_bound_vanishes_fast(loss, penalty):
    """Ten times nearer to the optimum the bound is 100 times nearer, 10 times with l1 alone, for any intercept."""

    def main(comm):
        target, channel = objective(loss, *PENALTIES[penalty], "sparse", comm), Channel(comm, seed=3)
        labels = duality_gap.label_statistics(target, channel)
        state = at_optimum(target, channel)
        best = evaluate_exact(target, state.w, channel).value
        move = np.random.default_rng(1).normal(size=state.w.shape) * (state.w != 0.0)
        gaps = []
        for size in (1e-2, 1e-3):
            w = state.w + size * move
            w[:, 6] = state.w[:, 6] + np.arange(len(w)) - 3.0  # far from its best value
            gaps.append(best - bound_from_below(target, w, labels, channel).lower)
        order = 0.12 if penalty == "lasso" else 0.03  # scaling the slopes costs a gap of first order
        assert -1e-13 <= gaps[1] <= order * gaps[0] + 1e-13
        return gaps

    found = [spmd(size, main)[0] for size in SIZES]
    np.testing.assert_allclose(found, np.broadcast_to(found[0], np.shape(found)), rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize(
    ("penalty", "form"), [("ridge", "dense"), ("elastic-net", "sparse"), ("lasso", "dense"), ("lasso", "sparse")]
)
@pytest.mark.parametrize("loss", sorted(Loss.known()))
def test_bounds_near_a_model_are_bounds_and_tight_after_newton_steps(loss, penalty, form):
    """At the model the gap is some 1e-4 of F. A Newton step squares the distance, a few make the gap rounding."""

    def main(comm):
        target, channel = objective(loss, *PENALTIES[penalty], form, comm), Channel(comm, seed=3)
        labels = duality_gap.label_statistics(target, channel)
        state = at_optimum(target, channel)
        best = evaluate_exact(target, state.w, channel).value
        w = state.w + 1e-3 * np.random.default_rng(1).normal(size=state.w.shape) * (state.w != 0.0)
        exact = evaluate_exact(target, w, channel)
        nearby = Nearby(target, labels, channel)
        here = nearby.at(w).bound
        steps = {
            "newton": list(nearby.newton(w, exact, 1e-12)),
            "quasi-newton": list(nearby.quasi_newton(w, exact, np.ones(target.width))),
        }
        for each in (step for found in steps.values() for step in found):
            assert each.bound.lower <= best + 1e-13
            assert each.epochs >= 1.0
        assert len(steps["quasi-newton"]) == TUNING.trail_steps
        if is_measurable(target):
            last = steps["newton"][-1].bound
            assert best - last.lower <= 1e-5 * (best - here.lower) + 1e-11
            assert last.value <= exact.value
        return np.array([step.bound.lower for step in steps["newton"]] + [here.lower])

    for size in (1, 3):
        found = spmd(size, main)
        for other in found[1:]:
            assert other.tobytes() == found[0].tobytes()


@pytest.mark.parametrize("largest", [decrement.LARGEST_HESSIAN, 0], ids=["factored", "by products"])
@pytest.mark.parametrize("loss", sorted(Loss.known()))
def test_the_decrement_measures_the_distance_without_a_penalty(loss, largest, monkeypatch):
    monkeypatch.setattr(decrement, "LARGEST_HESSIAN", largest)

    def main(comm):
        target, channel = objective(loss, 0.0, 0.0, "dense", comm), Channel(comm, seed=3)
        certifier = Certifier.begin(target, 1e-9, channel)
        target = certifier.objective
        state = at_optimum(target, channel)
        best = evaluate_exact(target, state.w, channel).value
        w = state.w + 1e-4 * np.random.default_rng(1).normal(size=state.w.shape) * (np.arange(target.width) < 7)
        exact = evaluate_exact(target, w, channel)
        for tol, ending in ((1e-3, "certified"), (1e-13, "")):
            certifier.tol = tol
            assert certifier.judge(w, exact, 0.0, channel).ending == ending
        found = decrement.decrement(target, w, exact.gradient, channel)
        assert found.is_near
        assert not found.unbounded
        return found.value / (exact.value - best)

    for size in SIZES:
        assert spmd(size, main)[0] == pytest.approx(1.0, abs=0.12)
