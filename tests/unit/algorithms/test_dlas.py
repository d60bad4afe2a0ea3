"""DLAS-R-FTC as an algorithm: rules, forms and coordinators reach the optimum; refusals; what is counted."""

import itertools

import numpy as np
import pytest

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.step_sizes.adgd import AdgdOptions, AdgdState, measured_curvature, next_state
from mpiopt.algorithms.step_sizes.base import StepSize
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.core.config.spec import parse_spec
from mpiopt.objective.evaluation import evaluate_exact
from tests.cases.problems import objective
from tests.laws.test_algorithms import optimum

RULES = ("harmonic", "min", "global", "theoretical", "fixed[value=1.0]")  # that are safe on unlike shards


def made(text):
    chosen = parse_spec(text)
    return Algorithm.make(chosen.name, chosen.fitted(Algorithm.known()))


def follow(text, size, rounds, loss="logistic"):
    """Give the models after each round, the last gap, and the traffic."""
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
def test_a_safe_rule_reaches_the_optimum_on_unlike_shards(rule):
    assert all(gap <= 1e-9 for _, gap, _ in follow(f"dlas[rule={rule}]", 4, 150))


@pytest.mark.parametrize("coordinator", [*Coordinator.known(), "central"])
def test_every_coordinator_leads_to_the_same_place(coordinator):
    found = follow(f"dlas[coordinator={coordinator}]", 3, 40)
    assert len({models[-1].tobytes() for models, *_ in found}) == 1
    assert abs(found[0][1]) <= (1e-9 if coordinator != "quantised" else 1e-6)


@pytest.mark.parametrize("topology", ["ring", "star", "random-k[k=3]"])
def test_the_exact_coordinator_gives_the_same_bits_on_every_graph(topology):
    models = follow(f"dlas[topology={topology}]", 5, 6)[0][0]
    assert models[-1].tobytes() == follow("dlas[topology=complete]", 5, 6)[0][0][-1].tobytes()


@pytest.mark.parametrize("rule", [*RULES, "mean", "none"])
def test_merged_and_unmerged_are_the_same_iterates(rule):
    merged, unmerged = (follow(f"dlas[rule={rule},form={form}]", 2, 12)[0][0] for form in ("merged", "unmerged"))
    for a, b in zip(merged, unmerged, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_ranks_without_a_common_step_stall():
    looks = [follow("dlas[rule=none]", 4, rounds)[0][1] for rounds in (100, 200)]
    assert min(looks) > 1e-3


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dlas[rule=harmonik]", "did you mean 'harmonic'"),
        ("dlas[topology=rings]", "did you mean 'ring'"),
        ("dlas[coordinator=exact]", "unknown coordinator 'exact'"),
        ("dlas[form=mixed]", "form must be one of merged, unmerged"),
        ("dlas[alpha=0]", "alpha must be above 0"),
        ("dlas[kappa=1]", "kappa must be from 0 to below 1"),
        ("dlas[step_size=-1]", "step_size must be at least 0"),
        ("dlas[rule=fixed[value=0]]", "value must be a number above 0"),
        ("dlas[rule=fixed[size=1]]", "fixed has no option 'size'"),
    ],
)
def test_a_wrong_option_is_one_line(text, message):
    with pytest.raises(ValueError, match=message) as error:
        made(text)
    assert "\n" not in str(error.value)


def test_batches_see_the_curvature_on_the_same_rows_before_and_after_a_step():
    """Never more than the steepest row has; on other rows the difference of the noise would look like curvature."""

    def main(comm):
        target, channel = objective("squared", 0.0, 0.05, "dense", comm), Channel(comm, seed=3)
        algorithm = made("dlas[batch=2,coordinator=central]")
        state, seen = algorithm.init(target, channel), []
        for k in range(60):
            progress = algorithm.step(k, state, target, channel)
            seen.append(state.local.filtered)
        assert progress.epochs == 2 * 2 / 160  # two rows, at two models
        return max(seen), float(target.row_smoothness().max()) + 0.05

    most, bound = spmd(1, main)[0]
    assert 0.1 * bound < most <= bound * (1 + 1e-9)


def test_the_theoretical_step_needs_bounded_curvature():
    with pytest.raises(ValueError, match="needs a loss whose curvature is bounded"):
        follow("dlas[rule=theoretical]", 2, 1, "poisson")


def test_the_filter_and_the_growth_of_a_step():
    pace = next_state(AdgdState(0.01), 4.0, AdgdOptions(0.5, 0.9))
    assert pace == pytest.approx((0.01 * 2**0.5, 2**0.5, 4.0))  # growth bounds it; the first slope is not filtered
    pace = next_state(AdgdState(10.0, 1.0, 4.0), 8.0, AdgdOptions(0.5, 0.75), lambda now, filtered: filtered)
    assert pace == pytest.approx((0.5 / 5.0, 0.01, 5.0))
    assert next_state(AdgdState(10.0, 1.0, 4.0), 8.0, AdgdOptions(0.5, 0.75)).step == pytest.approx(0.5 / 8.0)
    assert next_state(pace, measured_curvature(np.ones(2), np.zeros(2)), AdgdOptions()) == pace


def test_a_step_stays_a_positive_number_whatever_is_seen():
    for seen in itertools.permutations([0.0, np.inf, np.nan, 1e300, 1e-300]):
        pace = AdgdState(1.0)
        for now in [s for s in seen for _ in range(600)]:
            pace = next_state(pace, now, AdgdOptions())
            assert 0.0 < pace.step < np.inf


def test_every_rule_says_what_is_exchanged():
    for kind in StepSize.known().values():
        assert kind.figures()["exchanged"]
