"""DLAS-R-FTC as an algorithm: rules, forms and coordinators reach the optimum; refusals; what is counted."""

import itertools

import numpy as np
import pytest

from mpiopt.algorithms.step_sizes.adgd import AdgdOptions, AdgdState, measured_curvature, next_state
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.objective.evaluation import evaluate_exact
from tests.cases.decentralised import made
from tests.cases.problems import objective
from tests.laws.test_algorithms import optimum

RULES = ("harmonic", "min", "global", "theoretical", "fixed[value=1.0]")  # that are safe on different shards


def follow(text, size, rounds, loss="logistic"):
    """Run for some rounds; return the models after each round, the last gap, and the traffic."""
    start, best = optimum(loss, "ridge")

    def main(comm):
        target, channel = objective(loss, 0.0, 0.05, "dense", comm), Channel(comm, seed=3)
        algorithm = made(text)
        state = algorithm.init(target, channel)
        models = []
        for k in range(rounds):
            algorithm.step(k, state, target, channel)
            models.append(state.w.copy())
        traffic = (channel.traffic.bytes_sent, channel.traffic.messages, channel.comm.bytes_sent)
        return models, (evaluate_exact(target, state.w, channel).value - best) / (start - best), traffic

    return spmd(size, main)


@pytest.mark.parametrize("rule", RULES)
def test_a_safe_rule_reaches_the_optimum_on_different_shards(rule):
    assert all(gap <= 1e-9 for _, gap, _ in follow(f"dlas[rule={rule}]", 4, 150))


@pytest.mark.parametrize("coordinator", [*Coordinator.known(), "central"])
def test_every_coordinator_leads_to_the_same_place(coordinator):
    found = follow(f"dlas[coordinator={coordinator}]", 3, 40)
    assert len({models[-1].tobytes() for models, *_ in found}) == 1
    assert abs(found[0][1]) <= (1e-9 if coordinator != "quantised" else 1e-6)


def test_ranks_without_a_common_step_stall():
    gaps = [follow("dlas[rule=none]", 4, rounds)[0][1] for rounds in (100, 200)]
    assert min(gaps) > 1e-3


def test_the_mean_diverges_where_a_rank_has_almost_no_curvature():
    with pytest.raises(ValueError, match=r"dlas\[rule=mean\].*steps are too long"):
        follow("dlas[rule=mean]", 5, 2000, "squared")


def test_what_is_sent_is_counted():
    for _, _, (sent, messages, counted) in follow("dlas[topology=ring]", 3, 5):
        assert counted >= sent
        assert sent > 0
        assert messages > 0
    one, two = (follow(f"dlas[topology=ring,form={form}]", 3, 5)[0][2] for form in ("merged", "unmerged"))
    assert one[0] == two[0]  # the same numbers, in one coordination or in two
    assert one[1] + 5 * (3 + 2) == two[1]  # size and D rounds more, each iteration, one out-neighbour each


def test_batches_see_the_curvature_on_the_same_rows_before_and_after_a_step():
    """The curvature is at most that of the steepest row. On other rows noise would count as curvature."""

    def main(comm):
        target, channel = objective("squared", 0.0, 0.05, "dense", comm), Channel(comm, seed=3)
        algorithm = made("dlas[batch=2,coordinator=central]")
        state, measured = algorithm.init(target, channel), []
        for k in range(60):
            progress = algorithm.step(k, state, target, channel)
            measured.append(state.local.filtered)
        assert progress.epochs == 2 * 2 / 160  # two rows, at two models
        return max(measured), float(target.row_smoothness().max()) + 0.05

    most, bound = spmd(1, main)[0]
    assert 0.1 * bound < most <= bound * (1 + 1e-9)


def test_the_theoretical_step_needs_bounded_curvature():
    with pytest.raises(ValueError, match="needs a loss whose curvature is bounded"):
        follow("dlas[rule=theoretical]", 2, 1, "poisson")


def test_the_filter_and_the_growth_of_a_step():
    state = next_state(AdgdState(0.01), 4.0, AdgdOptions(0.5, 0.9))
    assert state == pytest.approx((0.01 * 2**0.5, 2**0.5, 4.0))  # growth bounds it; the first slope is not filtered
    state = next_state(AdgdState(10.0, 1.0, 4.0), 8.0, AdgdOptions(0.5, 0.75), lambda now, filtered: filtered)
    assert state == pytest.approx((0.5 / 5.0, 0.01, 5.0))
    assert next_state(AdgdState(10.0, 1.0, 4.0), 8.0, AdgdOptions(0.5, 0.75)).step == pytest.approx(0.5 / 8.0)
    assert next_state(state, measured_curvature(np.ones(2), np.zeros(2)), AdgdOptions()) == state


def test_a_step_stays_a_positive_number_whatever_is_seen():
    for seen in itertools.permutations([0.0, np.inf, np.nan, 1e300, 1e-300]):
        state = AdgdState(1.0)
        for now in [s for s in seen for _ in range(600)]:
            state = next_state(state, now, AdgdOptions())
            assert 0.0 < state.step < np.inf
