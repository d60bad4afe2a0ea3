"""Laws of every coordinator and of max-consensus: all ranks of random graphs in one thread, few ranks in threads."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.comm import lockstep, threads
from mpiopt.consensus.coordinators.base import Coordinator, RankView
from mpiopt.consensus.coordinators.finite_field import shortest_recurrence
from mpiopt.consensus.coordinators.max_consensus import maximum
from mpiopt.consensus.digraph import diameter
from mpiopt.consensus.discovery import discover
from mpiopt.consensus.protocol_driver import run_together
from mpiopt.consensus.simulated import Simulation
from mpiopt.consensus.topologies.base import Topology
from mpiopt.kernels.fixed_point import join, places, split
from mpiopt.kernels.prime_field import P, from_residues, multiple, to_residues
from tests.cases.coordination import CASES, COORDINATORS, assert_stated, exact_mean, made
from tests.cases.graphs import strongly_connected


def vectors(size, d, seed, spread):
    """Return one vector for each rank. Each column has its own scale, and each rank too, within 10^±spread."""
    rng = np.random.default_rng(seed)
    units = 10.0 ** rng.uniform(-spread, spread, d)
    return [rng.standard_normal(d) * units * 10.0 ** rng.uniform(-spread / 4, spread / 4) for _ in range(size)]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(strongly_connected(40), st.integers(0, 3), st.integers(0, 10**6))
def test_the_maximum_is_exact_after_the_diameter_or_a_bound_on_it(graph, more, seed):
    xs = vectors(graph.size, 3, seed, 100)
    hops = diameter(graph) + more
    views = [RankView(rank, graph.size, hops, len(to)) for rank, to in enumerate(graph.outgoing)]
    found, rounds, _ = run_together([maximum(x, view) for x, view in zip(xs, views, strict=True)], graph)
    assert rounds == hops
    assert all(np.array_equal(one, np.max(xs, axis=0)) for one in found)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(strongly_connected(40), st.integers(0, 10**6))
def test_size_diameter_and_maximum_are_found_by_ranks_that_know_neither(graph, seed):
    xs = vectors(graph.size, 2, seed, 10)
    protocols = [discover(rank, graph.incoming[rank], x) for rank, x in enumerate(xs)]
    found, rounds, sent = run_together(protocols, graph)
    assert rounds == diameter(graph)
    assert all(one.graph == graph and one.diameter == rounds for one in found)
    assert all(np.array_equal(one.maximum, np.max(xs, axis=0)) for one in found)
    lists = 8 * (2 * graph.size + graph.messages)  # each list crosses each edge once, except in the last round
    assert all(n <= len(to) * (lists + 16 * rounds) for n, to in zip(sent, graph.outgoing, strict=True))


@pytest.mark.parametrize("name", COORDINATORS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(strongly_connected(40), st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([0, 3, 30]))
def test_a_coordinator(name, graph, d, seed, spread):
    coordinator = Coordinator.make(name)
    simulation = Simulation(coordinator, graph, seed)
    xs = vectors(graph.size, d, seed, spread)
    found = simulation.mean(xs)
    assert len({one.value.tobytes() for one in found}) == 1
    assert len({one[1:4] for one in found}) == 1
    assert_stated(found[0], xs)
    assert found[0].error < (1e-9 if name != "quantised" else 1e-4)
    stated = coordinator.rounds(simulation.views[0], simulation.learned[0])
    assert (
        found[0].rounds == stated
        if stated is not None
        else found[0].rounds % max(1, simulation.views[0].diameter) == 0
    )
    again = simulation.sum(xs, divisor=1)
    np.testing.assert_allclose(again[0].value, graph.size * found[0].value, rtol=1e-15)


@pytest.mark.parametrize("name", COORDINATORS)
@pytest.mark.parametrize("x", [0.0, 5e-324, -1e-300, 1e300], ids=str)
def test_equal_numbers_zeros_and_extreme_ones(name, x):
    graph = Topology.make("random-k").graph(5)
    found = Simulation(Coordinator.make(name), graph).mean([np.array([x, 1.0])] * 5)
    scale = max(abs(x), 1e-290) if name == "hankel" else abs(x)
    assert abs(found[0].value[0] - x) <= found[0].error * scale + 5e-324
    assert found[0].value[1] == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(("topology", "size"), [("random-k", 64), ("ring", 64), ("torus", 64), ("random-k", 48)])
def test_the_exact_form_is_rounded_once_and_the_same_on_64_ranks(topology, size):
    graph = Topology.make(topology).graph(size)
    simulation = Simulation(Coordinator.make("finite-field"), graph)
    assert simulation.rounds_to_learn == 2 * size + diameter(graph)
    for spread in (0, 20, 240):
        xs = vectors(size, 3, spread, spread)
        for divisor in (1, size):
            found = simulation.sum(xs, divisor)
            want = [float(sum(map(Fraction, column)) / divisor) for column in np.transpose(xs).tolist()]
            assert all(one.value.tolist() == want for one in found)
            assert found[0].rounds <= size + diameter(graph)
        turned = simulation.mean(xs[1:] + xs[:1])
        assert turned[0].value.tobytes() == simulation.mean(xs)[0].value.tobytes()


def test_with_few_digits_numbers_are_rounded_as_stated():
    graph = Topology.make("random-k").graph(9)
    xs = vectors(9, 50, 1, 60)
    for digits in (1, 2):
        found = Simulation(Coordinator.make("finite-field", {"digits": digits}), graph).mean(xs)
        assert_stated(found[0], xs)
        assert found[0].error < 1e-15 * (1 if digits == 2 else 100)
        assert len({one.value.tobytes() for one in found}) == 1
    exact = Simulation(Coordinator.make("finite-field"), graph).mean(xs)
    assert exact[0].value.tobytes() == exact_mean(xs).tobytes()
    assert exact[0].bytes_sent > found[0].bytes_sent


@settings(max_examples=20, deadline=None, derandomize=True)
@given(strongly_connected(16), st.integers(0, 10**6))
def test_the_float_form_measures_its_own_error(graph, seed):
    """With a huge tolerance its error may be large, but never larger than it states."""
    unguarded = Simulation(Coordinator.make("hankel", {"tolerance": 1e300}), graph, seed)
    xs = vectors(graph.size, 4, seed, 0)
    for one in unguarded.mean(xs):
        assert_stated(one, xs)
        assert one.by == "hankel"


def test_the_float_form_gives_way_where_digits_are_lost():
    by = {}
    for size in (4, 6, 12, 20, 30):
        graph = Topology.make("random-k", {"k": 3}).graph(size)
        xs = vectors(size, 3, size, 0)
        for fallback in ("finite-field", "ratio"):
            coordinator = Coordinator.make("hankel", {"fallback": fallback})
            found = Simulation(coordinator, graph).mean(xs)
            assert_stated(found[0], xs)
            by[size, fallback] = found[0].by
    assert by[4, "ratio"] == by[6, "ratio"] == "hankel"
    assert by[20, "ratio"] == by[30, "ratio"] == "ratio"
    assert by[20, "finite-field"] == by[30, "finite-field"] == "finite-field"


def test_ratio_consensus_stops_at_its_epsilon():
    graph = Topology.make("random-k").graph(12)
    xs = vectors(12, 2, 3, 5)
    found = [Simulation(Coordinator.make("ratio", {"epsilon": e}), graph).mean(xs)[0] for e in (1e-3, 1e-6, 1e-9)]
    for one in found:
        assert_stated(one, xs)
    assert found[0].rounds < found[1].rounds < found[2].rounds
    with pytest.raises(RuntimeError, match="not within 5e-13 after 20 rounds"):
        Simulation(Coordinator.make("ratio", {"max_rounds": 20}), graph).mean(xs)


@pytest.mark.parametrize(
    "options", [("ratio", "epsilon", 0.0), ("quantised", "bits", 40), ("finite-field", "digits", -1)]
)
def test_options_out_of_range_are_refused(options):
    name, key, value = options
    with pytest.raises(ValueError, match=key):
        Coordinator.make(name, {key: value})
    with pytest.raises(ValueError, match="its own fallback"):
        Coordinator.make("hankel", {"fallback": "hankel"})


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_coordination_between_threads(case, size):
    (threads.spmd if size == 3 else lockstep.spmd)(size, case)


class Faulty:
    """Neighbours with one message that is lost, late or changed, in one round on one rank."""

    def __init__(self, neighbours, kind, at):
        self.neighbours, self.kind, self.at = neighbours, kind, at
        self.round, self.former = 0, None

    def __getattr__(self, name):
        return getattr(self.neighbours, name)

    def exchange(self, x, tag=0):
        return self.spoilt(self.neighbours.exchange(x, tag))

    def exchange_any(self, x, tag=0):
        return self.spoilt(self.neighbours.exchange_any(x, tag))

    def spoilt(self, received):
        self.round += 1
        source = self.neighbours.incoming[0]
        late, self.former = self.former, received[source]
        if self.round != self.at or self.neighbours.rank != 2:
            return received
        if self.kind == "lost":
            return {s: x for s, x in received.items() if s != source}
        return received | {source: late if self.kind == "late" else received[source] * 0}


def spoilt_sum(name, kind, at, size=5):
    """Compute a mean with a fault in round `at` of the call, after the graph was learned."""

    def main(comm):
        _, coordination = made(comm, name, "random-k")
        coordination._neighbours = Faulty(coordination._neighbours, kind, at)
        return coordination.mean(np.array([1.0 + comm.rank, 2.0])).value

    return lockstep.spmd(size, main, timeout=10.0)


@pytest.mark.parametrize("name", COORDINATORS)
def test_a_lost_message_is_an_error_on_all_ranks(name):
    with pytest.raises(RuntimeError, match="no message from rank"):
        spoilt_sum(name, "lost", 2)


@pytest.mark.parametrize("kind", ["late", "zeroed"])
@pytest.mark.parametrize("name", ["finite-field", "hankel"])
def test_the_finite_time_forms_notice_a_message_that_is_another(name, kind):
    view = Simulation(Coordinator.make(name), Topology.make("random-k").graph(5)).views[0]
    first = 1 + (view.diameter if name == "finite-field" else 0)
    for at in range(first + 1, first + 4):
        with pytest.raises(RuntimeError, match="a message was lost"):
            spoilt_sum(name, kind, at)


def test_a_rank_in_another_call_is_an_error_on_all_ranks():
    def main(comm):
        _, coordination = made(comm, "ratio", "ring")
        for _ in range(1 if comm.rank == 2 else 2):
            coordination.mean(np.ones(1))
        coordination.max(np.ones(3))

    with pytest.raises(RuntimeError):
        lockstep.spmd(4, main, timeout=10.0)


def test_a_rank_that_leaves_in_a_protocol_ends_the_others():
    def main(comm):
        _, coordination = made(comm, "finite-field", "ring")
        if comm.rank != 1:
            coordination.mean(np.ones(2))

    with pytest.raises(RuntimeError, match="return"):
        lockstep.spmd(4, main, timeout=10.0)


def test_ranks_that_end_in_different_rounds_are_an_error():
    graph = Topology.make("ring").graph(3)
    views = [RankView(rank, 3, 2 + (rank == 1), 1) for rank in range(3)]
    with pytest.raises(RuntimeError, match=r"ranks \[1\] go on"):
        run_together([maximum(np.ones(1), view) for view in views], graph)


def test_a_diameter_that_is_too_small_is_noticed_where_numbers_are_missing():
    graph = Topology.make("ring").graph(4)
    protocols = [Coordinator.make("flooding").sum(np.ones(1), 4, RankView(rank, 4, 1, 1), None) for rank in range(4)]
    with pytest.raises(RuntimeError, match="the numbers of 2 of 4 ranks"):
        run_together(protocols, graph)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(-(P // 2), P // 2), min_size=1, max_size=5), st.integers(0, P - 1))
def test_the_field(values, factor):
    x = np.array(values, np.int64)
    assert np.array_equal(from_residues(to_residues(x)), x)
    assert multiple(to_residues(x), factor).tolist() == [v * factor % P for v in values]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9), st.integers(1, 4), st.data()
)
def test_sums_of_digits_are_rounded_once(values, words, data):
    bits = 60 - len(values).bit_length()
    xs = [np.array([v]) for v in values]
    top = np.max([places(x)[0] for x in xs], axis=0)
    bottom = np.min([places(x)[1] for x in xs], axis=0)
    needed = max(1, int(-(-(top - bottom)[0] // bits)))
    total = sum(split(x, bottom, bits, needed) for x in xs)
    divisor = data.draw(st.integers(1, len(values)))
    try:
        want = float(sum(map(Fraction, values)) / divisor)
    except OverflowError:
        want = np.inf
    assert abs(join(total, bottom, bits, divisor)[0]) == abs(want)


def test_the_shortest_recurrence():
    fibonacci = [1, 1, 2, 3, 5, 8, 13, 21]
    assert shortest_recurrence(fibonacci) == (P - 1, P - 1, 1)
    assert shortest_recurrence([5] * 4) == (P - 1, 1)
    assert shortest_recurrence([3, 0, 0, 0]) == (0, 1)
