"""Laws of the rules and of DLAS-R-FTC, over every rule: random least squares on random strongly connected graphs."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.algorithms.decentralised import dlas
from mpiopt.algorithms.decentralised.dlas import CentralAgreement, GraphAgreement
from mpiopt.algorithms.step_sizes.adgd import AdgdOptions
from mpiopt.algorithms.step_sizes.base import Exchanged, LocalStep, StepSize
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.simulated import Simulation
from mpiopt.consensus.topologies.base import Topology
from mpiopt.studies.stepsize.job import rule_of
from mpiopt.studies.stepsize.simulation import SimulatedRanks
from mpiopt.studies.stepsize.synthetic import make
from tests.cases.graphs import strongly_connected

RULES = sorted(StepSize.rules_of("dlas"))
SAFE = ("harmonic", "min", "global", "theoretical", "fixed")
PROBLEMS = st.tuples(st.integers(1, 12), st.integers(1, 4), st.sampled_from([1.0, 10.0, 1e3]), st.integers(0, 10**6))
few = settings(max_examples=8, deadline=None, derandomize=True)


def run(rule_name, problem, topology, coordinator, form, rounds, tuning, stop=0.0):
    """Return for each round every rank's model and step, and ‖Δḡ‖/‖Δx‖ of the last move."""
    together = SimulatedRanks(Simulation(Coordinator.make(coordinator), topology.graph(len(problem.c))))
    rule, states = (
        rule_of(rule_name, problem.smoothness),
        [dlas.blank(np.zeros(problem.c.shape[1])) for _ in problem.c],
    )
    for state, limit in zip(states, problem.limits, strict=True):
        dlas.begin(state, 1e-3, limit)
    mean, found = problem.h.mean(axis=0), []
    for _ in range(rounds):
        at, way = states[0].w.copy(), states[0].w - states[0].before
        gs = [problem.gradient(rank, state.w) for rank, state in enumerate(states)]
        steps = together.drive([dlas.FORMS[form](s, g, rule, tuning) for s, g in zip(states, gs, strict=True)])
        slope = np.linalg.norm(mean @ way) / np.linalg.norm(way) if way.any() else 0.0
        found.append(([s.w.copy() for s in states], steps, slope))
        if problem.gap(states[0].w) <= stop or np.array_equal(at, states[0].w):
            break
    return found


def problem_of(ranks, features, spread, seed, condition=10.0):
    return make(ranks, features + 10, features, condition, [spread], seed)[spread]


@pytest.mark.parametrize("name", RULES)
@few
@given(PROBLEMS, st.sampled_from([0.0, 0.6]))
def test_all_ranks_have_the_same_bits_and_a_common_step(name, drawn, kappa):
    found = run(
        name, problem_of(*drawn), Topology.make("random-k"), "finite-field", "merged", 8, AdgdOptions(0.5, kappa)
    )
    for models, steps, _ in found:
        assert len({x.tobytes() for x in models}) == 1
        assert all(0.0 < step < math.inf for step in steps)
        assert len(set(steps)) == 1 or not StepSize.known()[name].common


class Drawn:
    """A topology that is one given graph."""

    def __init__(self, graph):
        self.graph = lambda size: graph


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(strongly_connected(40), st.sampled_from([1.0, 1e3]), st.integers(0, 10**6))
def test_on_any_graph_the_iterates_are_those_of_a_complete_one(name, graph, spread, seed):
    """With exact coordination the bits do not depend on the graph."""
    problem = problem_of(graph.size, 2, spread, seed)
    complete = Topology.make("complete")
    one, two = (run(name, problem, t, "finite-field", "merged", 3, AdgdOptions()) for t in (Drawn(graph), complete))
    for (a, steps, _), (b, others, _) in zip(one, two, strict=True):
        assert [x.tobytes() for x in a] == [x.tobytes() for x in b]
        assert steps == others


@pytest.mark.parametrize("name", ["harmonic", "min", "global"])
@few
@given(PROBLEMS, st.sampled_from([0.0, 0.6]))
def test_the_conditions_of_adgd_hold_for_the_mean_function(name, drawn, kappa):
    """γ_t <= √(1 + γ_{t-1}/γ_{t-2}) γ_{t-1} and γ_t <= α/‖Δḡ‖·‖Δx‖, on which AdGD's proof rests."""
    found = run(
        name, problem_of(*drawn), Topology.make("ring"), "flooding", "merged", 40, AdgdOptions(0.5, kappa), 1e-10
    )
    ratio, before = 1.0, found[0][1][0]
    for _, steps, slope in found[1:]:
        assert steps[0] <= math.sqrt(1.0 + ratio) * before * (1 + 1e-12)
        assert steps[0] * slope <= 0.5 * (1 + 1e-5)
        ratio, before = steps[0] / before, steps[0]


@pytest.mark.parametrize("name", SAFE)
@few
@given(PROBLEMS)
def test_a_safe_rule_converges_at_any_spread(name, drawn):
    ranks, features, spread, seed = drawn
    problem = problem_of(ranks, features, min(spread, 10.0 if name == "theoretical" else spread), seed, 4.0)
    found = run(name, problem, Topology.make("random-k"), "flooding", "merged", 2000, AdgdOptions(), 1e-9)
    assert problem.gap(found[-1][0][0]) <= 1e-9


@pytest.mark.parametrize("name", RULES)
@few
@given(PROBLEMS)
def test_merged_and_unmerged_are_the_same_iterates(name, drawn):
    problem = problem_of(*drawn)
    one, two = (
        run(name, problem, Topology.make("random-k"), "finite-field", form, 10, AdgdOptions())
        for form in ("merged", "unmerged")
    )
    for (a, *_), (b, *_) in zip(one, two, strict=False):
        np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-7 * (1 + np.abs(a[0]).max()))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_depends_on_what_it_says_is_exchanged(name):
    rule = StepSize.make(name)
    for step, bound, agreed in itertools.product((0.1, 2.0), (1.0, 50.0), (0.5, 3.0)):
        own = LocalStep(step, bound)
        assert math.isfinite(rule.contribution(own))
        if rule.common:
            assert rule.step(agreed, own) == rule.step(agreed, LocalStep(7.0, 7.0))
        if rule.exchanged is Exchanged.NOTHING:
            assert rule.step(agreed, own) == rule.step(-agreed, own)


@pytest.mark.parametrize("form", dlas.FORMS)
@pytest.mark.parametrize("name", RULES)
def test_over_threads_it_is_the_simulation_to_the_last_bit(name, form):
    problem = problem_of(3, 4, 10.0, 7)
    want = run(name, problem, Topology.make("ring"), "finite-field", form, 6, AdgdOptions())

    def main(comm):
        channel, rule = Channel(comm), rule_of(name, problem.smoothness)
        networks = [
            GraphAgreement(Topology.make("ring"), Coordinator.make("finite-field"), channel),
            CentralAgreement(channel),
        ]
        states = [dlas.blank(np.zeros(4)) for _ in networks]
        for state in states:
            dlas.begin(state, 1e-3, problem.limits[comm.rank])
        for models, steps, _ in want:
            for network, state in zip(networks, states, strict=True):
                g = problem.gradient(comm.rank, state.w)
                step = network.drive(dlas.FORMS[form](state, g, rule, AdgdOptions()))
                assert step == pytest.approx(steps[comm.rank], rel=1e-6)
            assert states[0].w.tobytes() == models[comm.rank].tobytes()
            np.testing.assert_allclose(states[1].w, models[comm.rank], rtol=1e-6)
        return True

    assert all(spmd(3, main))


@few
@given(st.integers(2, 12), st.sampled_from([10.0, 1e3]), st.integers(0, 10**6))
def test_the_mean_is_safe_only_below_a_bound(ranks, spread, seed):
    """On isotropic curvatures it converges below α = 2/(mean L_i · mean 1/L_i) and diverges beyond, as derived."""
    scales = np.geomspace(1.0, spread, ranks)
    problem = replace(problem_of(ranks, 1, 1.0, seed), h=scales[:, None, None] * np.ones((ranks, 1, 1)))
    bound = 2.0 / (scales.mean() * (1.0 / scales).mean())
    assert problem.safe_alpha == pytest.approx(bound)
    for times, converges in ((0.8, True), (1.25, False)):
        found = run("mean", problem, Topology.make("ring"), "flooding", "merged", 400, AdgdOptions(times * bound))
        gaps = [problem.gap(models[0]) for models, *_ in found]
        assert (gaps[-1] < 1e-9) == converges, (times, gaps[-1])
