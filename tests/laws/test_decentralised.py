"""Laws of distributed SAGA, DGD and gradient tracking along graphs, over topologies and random directed graphs."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpiopt.algorithms.decentralised import gossip
from mpiopt.algorithms.decentralised.dgd import Dgd
from mpiopt.algorithms.decentralised.gradient_tracking import GradientTracking
from mpiopt.comm import lockstep, threads
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.digraph import diameter, spectral_gap
from mpiopt.consensus.graph_channel import graph_channel
from mpiopt.consensus.mixing_weights import column_stochastic, doubly_stochastic, masses
from mpiopt.consensus.protocol_driver import run_together
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import Clock
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.decentralised.job import DecentralisedCell, DecentralisedStudy
from mpiopt.studies.decentralised.problems import Regression
from mpiopt.studies.decentralised.simulation import follow
from mpiopt.studies.stepsize.synthetic import data, make
from mpiopt.training.loop import run
from mpiopt.training.run_state import RunPlan
from tests.cases.decentralised import TEXTS, begun, followed, made
from tests.cases.graphs import NAMES, strongly_connected
from tests.cases.problems import objective
from tests.laws.test_algorithms import optimum

few = settings(max_examples=8, deadline=None, derandomize=True)
CENTRAL = ("sum", "start_sum", "max", "allgather", "alltoall", "broadcast", "post", "barrier", "agree")


def certified(comm, text, loss="logistic", tol=1e-10, rounds=1e4):
    """Run to the end; return the run and the traffic."""
    target, channel = objective(loss, 0.0, 0.05, "dense", comm), Channel(comm, seed=3)
    plan = RunPlan(Stopping(tol=tol, max_epochs=rounds))
    return run(plan, target, made(text), channel, StopSignal(), Clock(), lambda row: None), channel.traffic


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_graph_saga_is_certified_with_the_same_bits_on_every_rank_and_graph(size, loss):
    start, best = optimum(loss, "ridge")
    models = set()
    for topology in NAMES:
        for now, _ in lockstep.spmd(
            size, lambda comm, t=topology: certified(comm, f"graph-saga[topology={t}]", loss)
        ):
            assert now.ending == "certified"
            assert -1e-12 <= (now.exact.value - best) / (start - best) <= 1e-9
            models.add(now.state.w.tobytes())
    assert len(models) == 1


def test_graph_saga_needs_no_centre_in_its_rounds():
    """After the start only messages along the graph are allowed, for signals too."""

    def main(comm):
        algorithm, state, target, channel = begun(comm, "graph-saga[topology=ring]")
        graph = algorithm.run_channel(channel)

        def central(*_):
            raise AssertionError("a central exchange")

        for verb in CENTRAL:
            setattr(comm, verb, central)
        for k in range(6):
            algorithm.step(k, state, target, channel)
        stop = StopSignal()
        stop.level = int(comm.rank == 1)
        return stop.agreed(graph)

    assert lockstep.spmd(3, main) == [1] * 3


def test_saga_needs_a_centre():
    """The law above would notice a central exchange."""

    def main(comm):
        algorithm, state, target, channel = begun(comm, "saga")
        comm.sum = None
        with pytest.raises(TypeError):
            algorithm.step(0, state, target, channel)

    lockstep.spmd(2, main)


@pytest.mark.parametrize("coordinator", ["finite-field", "flooding"])
def test_rounds_and_bytes_along_the_graph_are_counted(coordinator):
    def main(comm):
        algorithm, state, target, channel = begun(comm, f"graph-saga[topology=random-k,coordinator={coordinator}]")
        spent, before = state.network.coordination.spent, vars(channel.traffic).copy()
        assert before["rounds"] == spent.rounds
        for k in range(4):
            algorithm.step(k, state, target, channel)
        now, traffic = state.network.coordination.spent, vars(channel.traffic)
        degree = len(state.network.coordination.graph.outgoing[comm.rank])
        assert traffic["rounds"] - before["rounds"] == now.rounds - spent.rounds > 0
        assert traffic["bytes_sent"] - before["bytes_sent"] == now.bytes_sent - spent.bytes_sent > 0
        assert traffic["messages"] - before["messages"] == degree * (now.rounds - spent.rounds)
        return traffic["bytes_sent"], traffic["bytes_received"]

    found = lockstep.spmd(5, main)
    assert sum(sent for sent, _ in found) == sum(received for _, received in found)


def test_numbers_that_are_not_finite_are_nan_on_all_ranks():
    def main(comm):
        channel = graph_channel(Topology.make("ring"), Coordinator.make("finite-field"), Channel(comm))
        wrong = np.array([1.0, np.inf if comm.rank == 1 else 2.0])
        assert np.isnan(channel.sum(wrong)).all()
        assert np.isnan(channel.sum(np.full(1, 1.7e308))).all()
        assert np.isnan(channel.max(np.nan if comm.rank else 1.0))[0]
        assert channel.sum(1.0, 2.0).tolist() == [3.0, 6.0]

    lockstep.spmd(3, main)


@pytest.mark.filterwarnings("ignore:overflow")
def test_steps_that_are_too_long_are_shortened_as_in_saga():
    def ended(text):
        return [now for now, _ in lockstep.spmd(3, lambda comm: certified(comm, text, "squared", 1e-6))]

    saga, graph = ("saga[preconditioner=none,step_size=", "graph-saga[topology=ring,preconditioner=none,step_size=")
    epochs = [[now.epochs for now in ended(f"{text}1e3]")] for text in (graph, saga)]
    assert epochs[0] == epochs[1]
    for text in (
        saga,
        graph,
    ):  # steps that no shortening helps: the start is kept, unless a bound finds a better model
        for now in ended(f"{text}1e150]"):
            assert now.ending == "certified" or now.reason == "no progress in 12 evaluations"
            assert np.isfinite(now.state.w).all()
            assert now.exact.value <= now.rows[0].objective


@few
@given(strongly_connected(12), st.integers(0, 10**6))
def test_sums_of_a_channel_are_those_of_the_communicator_on_any_graph(graph, seed):
    def main(comm):
        topology = Topology.make("ring")
        object.__setattr__(topology, "outgoing", lambda size: graph.outgoing)
        x = np.random.default_rng([seed, comm.rank]).standard_normal(7)
        found = graph_channel(topology, Coordinator.make("finite-field"), Channel(comm)).sum(x)
        np.testing.assert_allclose(found, comm.sum(x), rtol=1e-12, atol=1e-13)
        return found.tobytes()

    assert len(set(lockstep.spmd(graph.size, main))) == 1


def tracked(graph, weights, problem, gamma, iterations):
    """Run gradient tracking on all ranks of a graph in one thread; return their iterates."""
    iterates = []
    for rank in range(graph.size):
        mass = np.zeros(0 if np.allclose(weights.sum(axis=1), 1.0) else 1)
        iterates.append(gossip.RankIterate(*(np.zeros(problem.c.shape[1]), mass, *np.zeros((2, problem.c.shape[1])))))
        gossip.start(iterates[rank], np.zeros(problem.c.shape[1]), lambda x, r=rank: problem.gradient(r, x))
    rows = [gossip.row_of(weights, graph, rank) for rank in range(graph.size)]
    for _ in range(iterations):
        steps = [
            gossip.track(iterate, rows[rank], lambda x, r=rank: problem.gradient(r, x), gamma)
            for rank, iterate in enumerate(iterates)
        ]
        run_together(steps, graph)
    return iterates


@few
@given(strongly_connected(40), st.sampled_from([1.0, 30.0]), st.integers(0, 10**6))
def test_tracking_keeps_its_sums_on_any_graph(graph, spread, seed):
    problem = make(graph.size, 12, 3, 4.0, [spread], seed)[spread]
    iterates = tracked(graph, column_stochastic(graph), problem, 1e-3, 20)
    scale = max(np.abs(p.seen).max() for p in iterates) * graph.size
    np.testing.assert_allclose(sum(p.tracker for p in iterates), sum(p.seen for p in iterates), atol=1e-12 * scale)
    assert sum(float(p.mass.sum()) for p in iterates) == pytest.approx(graph.size if iterates[0].mass.size else 0.0)


@few
@given(strongly_connected(12), st.sampled_from([1.0, 30.0]), st.integers(0, 10**6))
def test_tracking_converges_with_its_own_step_on_any_graph(graph, spread, seed):
    problem = make(graph.size, 12, 3, 2.0, [spread], seed)[spread]
    weights = column_stochastic(graph)
    gamma = GradientTracking().step_of(float(problem.limits.max()), weights)
    enough = int(20.0 / (gamma * np.linalg.eigvalsh(problem.h.mean(axis=0))[0]))
    assume(enough < 8000)
    assert max(problem.gap(p.model) for p in tracked(graph, weights, problem, gamma, enough)) <= 1e-8


@pytest.mark.parametrize("text", ["gradient-tracking", "gt-saga", "push-saga", "push-saga[topology=random-k]"])
@pytest.mark.parametrize("size", [3, 6])
def test_tracking_is_linear_to_1e_8_for_all_ranks(text, size):
    start, best = optimum("logistic", "ridge")

    def main(comm):
        algorithm, state, target, channel = begun(comm, text)
        evaluations = []
        for k in range(5000):
            exact = algorithm.step(k, state, target, channel).exact
            if exact is not None:
                evaluations.append(((exact.value - best) / (start - best), float(state.distance[0])))
                if evaluations[-1][0] <= 1e-12:
                    break
        return evaluations

    evaluations = lockstep.spmd(size, main)[0]
    gaps = np.array([gap for gap, _ in evaluations])
    assert gaps[-1] <= 1e-8
    assert evaluations[-1][1] < 1e-4
    half = int(np.argmax(gaps <= 1e-4))
    assert np.argmax(gaps <= 1e-8) <= 2.6 * half + 5  # the second four digits take about as long as the first


@pytest.mark.parametrize("topology", ["ring", "ring-both", "star", "complete"])
def test_dgd_ends_where_its_fixed_point_is_and_not_at_the_optimum(topology):
    """It ends where (I − W) x + γ (H_i x_i − c_i) = 0, at a distance of the order of γ from the optimum."""
    n, problem = 5, make(5, 20, 3, 4.0, [10.0], 1)[10.0]
    graph = Topology.make(topology).graph(n)
    weights = Dgd().weights(graph)
    chosen = Dgd().step_of(float(problem.limits.max()), weights)
    distances = []
    for gamma in (chosen, chosen / 2):
        blocks = np.kron(np.eye(n) - weights, np.eye(3))
        for i in range(n):
            blocks[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] += gamma * problem.h[i]
        want = np.linalg.solve(blocks, gamma * problem.c.reshape(-1)).reshape(n, 3)
        iterates = [gossip.RankIterate(np.zeros(3), np.zeros(0), np.zeros(3), np.zeros(3)) for _ in range(n)]
        for _ in range(3000):
            steps = [
                gossip.descend(p, gossip.row_of(weights, graph, i), lambda x, i=i: problem.gradient(i, x), gamma)
                for i, p in enumerate(iterates)
            ]
            run_together(steps, graph)
        found = np.array([p.own for p in iterates])
        np.testing.assert_allclose(found, want, atol=1e-8)
        best = np.linalg.solve(problem.h.mean(axis=0), problem.c.mean(axis=0))
        away = np.linalg.norm(found - best)
        slopes = np.linalg.norm(problem.h @ best - problem.c)
        assert 1e-6 < away <= 10 * gamma * slopes / spectral_gap(weights) * problem.limits.max()
        distances.append(away)
    assert distances[1] < 0.8 * distances[0]


def test_dgd_stalls_where_tracking_does_not():
    start, best = optimum("logistic", "ridge")

    def main(comm, text):
        algorithm, state, target, channel = begun(comm, text)
        values = [algorithm.step(k, state, target, channel).exact for k in range(1500)]
        return [(e.value - best) / (start - best) for e in values if e is not None]

    dgd, tracking = (lockstep.spmd(3, lambda comm, t=t: main(comm, t))[0] for t in ("dgd", "gradient-tracking"))
    assert tracking[-1] < 1e-9
    assert dgd[-1] > 1e-6
    assert dgd[-1] == pytest.approx(dgd[len(dgd) // 2], rel=1e-3)


@pytest.mark.parametrize("text", TEXTS)
def test_threads_that_run_at_once_give_the_bits_of_threads_that_take_turns(text):
    assert threads.spmd(3, lambda comm: followed(comm, text)) == lockstep.spmd(3, lambda comm: followed(comm, text))


def test_batches_leave_a_neighbourhood_that_shrinks_with_step_and_batch():
    start, best = optimum("logistic", "ridge")

    def floor(text):
        def main(comm):
            target = objective("logistic", 0.0, 0.05, "dense", comm)
            algorithm, state, _, channel = begun(comm, text)
            gaps = []
            for k in range(450):
                algorithm.step(k, state, target, channel)
                if k >= 250 and k % 10 == 0:
                    value, _ = target.evaluate(state.w)
                    gaps.append(channel.sum(value)[0] + target.penalty_value(state.w) - best)
            return np.mean(gaps) / (start - best)

        return lockstep.spmd(3, main)[0]

    rough, finer, larger = (
        floor(f"dlas[coordinator=flooding,kappa=0.5,{more}]")
        for more in ("batch=4,alpha=0.2", "batch=4,alpha=0.02", "batch=64,alpha=0.2")
    )
    assert 1e-4 < finer < rough / 2
    assert 1e-5 < larger < rough / 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph-saga[topology=rink]", "did you mean 'ring'"),
        ("graph-saga[coordinator=hankel]", "hankel is not exact, .* use one of finite-field, flooding"),
        ("graph-saga[exchange=overlap]", "exchange must be sync, not 'overlap'"),
        ("graph-saga[local_steps=-1]", "a number of rows"),
        ("dlas[rule=global,batch=8]", "rule global compares whole gradients"),
        ("dlas[batch=-1]", "batch must be at least 0"),
        ("gt-saga[batch=-1]", "batch must be at least 0"),
        ("dlas[rule=harmonik]", "did you mean 'harmonic'"),
        ("dlas[topology=rings]", "did you mean 'ring'"),
        ("dlas[coordinator=exact]", "unknown coordinator 'exact'"),
        ("dlas[form=mixed]", "form must be one of merged, unmerged"),
        ("dlas[alpha=0]", "alpha must be above 0"),
        ("dlas[kappa=1]", "kappa must be from 0 to below 1"),
        ("dlas[step_size=-1]", "step_size must be at least 0"),
        ("dlas[rule=fixed[value=0]]", "value must be a number above 0"),
        ("dlas[rule=fixed[size=1]]", "fixed has no option 'size'"),
        ("dgd[step_size=-1]", "dgd: step_size must be at least 0"),
        ("push-saga[topology=rings]", "did you mean 'ring'"),
    ],
)
def test_a_wrong_option_is_one_line(text, message):
    with pytest.raises(ValueError, match=message) as error:
        made(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["dgd", "gt-saga"])
def test_a_graph_without_doubly_stochastic_weights_is_refused_on_all_ranks(name):
    def main(comm):
        with pytest.raises(ValueError, match=rf"{name} on random-k: no doubly stochastic weights: .* degrees differ"):
            begun(comm, f"{name}[topology=random-k]")

    lockstep.spmd(6, main)


@pytest.mark.parametrize("text", ["graph-saga", "push-saga"])
def test_a_rank_that_leaves_is_an_error_on_all_ranks(text):
    def main(comm):
        algorithm, state, target, channel = begun(comm, text)
        for k in range(2 if comm.rank == 1 else 5):
            algorithm.step(k, state, target, channel)

    with pytest.raises(RuntimeError):
        lockstep.spmd(3, main, timeout=10.0)


@few
@given(strongly_connected(40))
def test_masses_are_what_ones_become(graph):
    weights = column_stochastic(graph)
    found = masses(weights)
    np.testing.assert_allclose(weights @ found, found, atol=1e-12)
    assert found.sum() == pytest.approx(graph.size)
    assert found.min() > 0.0
    if graph.undirected:
        np.testing.assert_allclose(masses(doubly_stochastic(graph)), 1.0, atol=1e-12)
    assert diameter(graph) <= max(0, graph.size - 1)


RIVALS = ("adgt", "dgm-bb", "datos")


@pytest.mark.parametrize("text", RIVALS)
@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_rivals_that_choose_their_steps_reach_the_optimum_where_ranks_are_alike(text, spread):
    parts = Regression(data(8, 50, 10, 5.0, spread, np.random.default_rng([0, 8])))
    study = DecentralisedStudy(max_iterations=400)
    cell = DecentralisedCell(8, "ring-both", spread, text)
    outcome = lockstep.spmd(8, lambda comm: follow(cell, study, parts, comm))[0]
    assert outcome.at(1e-9) is not None


def test_steps_that_nobody_bounds_diverge_where_ranks_are_unlike_and_the_least_of_all_searches_does_not():
    parts = Regression(data(5, 50, 10, 5.0, 100.0, np.random.default_rng([0, 5])))
    study = DecentralisedStudy(max_iterations=400)
    ended = {
        text: lockstep.spmd(
            5, lambda comm, t=text: follow(DecentralisedCell(5, "ring-both", 100.0, t), study, parts, comm)
        )[0]
        for text in RIVALS
    }
    assert [text for text, outcome in ended.items() if outcome.diverged] == ["adgt", "dgm-bb"]
    assert ended["datos"].at(1e-9) is not None


@pytest.mark.parametrize(("l1", "size"), [(0.0, 3), (0.05, 5)])
def test_datos_keeps_the_sum_of_its_multipliers_and_one_step_and_takes_l1(l1, size):
    def main(comm):
        algorithm, state, target, channel = begun(comm, "datos[topology=torus]", l1=l1)
        for k in range(400):
            algorithm.step(k, state, target, channel)
        total = comm.sum(state.tracker.reshape(-1))
        assert np.abs(total).max() <= 1e-11 * max(1.0, np.abs(state.tracker).max())
        assert np.all(np.abs(state.subgradient) <= target.threshold * (1.0 + 1e-9))
        return state.own.copy(), float(state.steps[0])

    found = lockstep.spmd(size, main)
    assert len({step for _, step in found}) == 1
    np.testing.assert_allclose(found[0][0], found[-1][0], atol=1e-6)
    assert (found[0][0] == 0.0).any() == (l1 > 0.0 or (found[0][0][:, 7:] == 0.0).all())


def test_datos_refuses_edges_that_go_one_way():
    with pytest.raises(ValueError, match=r"datos on ring: .*symmetric"):
        lockstep.spmd(3, lambda comm: begun(comm, "datos[topology=ring]"))
