"""DIANA, EF21, local SGD and averaged compressed SGD: rates, floors, refusals."""

import itertools

import numpy as np
import pytest

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.partition import block
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.objective.curvature import smoothness
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.minibatch import take_rows
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from mpiopt.training.problem import pick
from tests.cases.problems import objective, sparse

TOTAL, D = 240, 16


def made(comm, loss="logistic", order="sorted", l2=0.1):
    """Return an objective on rows of 16 columns, by default sorted by label so that the shards differ."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((TOTAL, D))
    margin = x @ rng.standard_normal(D) + rng.standard_normal(TOTAL)
    y = margin if loss == "squared" else np.where(margin > 0, 1.0, -1.0)
    at = np.argsort(y, kind="stable") if order == "sorted" else rng.permutation(TOTAL)
    begin, end = block(TOTAL, comm.size, comm.rank)
    mine = at[begin:end]
    n = end - begin
    shard = Shard(DenseRows(np.ascontiguousarray(x[mine])), y[mine], np.ones(n), np.arange(n), begin, TOTAL, D)
    return Objective(Loss.make(loss), Penalty.make("ridge", {"l2": l2}), shard)


def best(loss, order, l2=0.1):
    def main(comm):
        target, channel = made(comm, loss, order, l2), Channel(comm)
        state = Newton().init(target, channel)
        for k in range(8):
            Newton().step(k, state, target, channel)
        return evaluate_exact(target, state.w, channel).value, evaluate_exact(target, target.zeros(), channel).value

    return spmd(1, main)[0]


def gaps(algorithm, size, rounds, compressor="none", loss="logistic", order="sorted", l2=0.1, memory=None):
    """Return (F − F*)/(F(0) − F*) after each of the given rounds, and γ."""
    low, high = best(loss, order, l2)

    def main(comm):
        chosen = parse_spec(compressor)
        made_of = None if compressor == "none" else Compressor.make(chosen.name, chosen.options)
        channel = Channel(comm, 5, made_of, algorithm.compressed_memory)
        target = made(comm, loss, order, l2)
        state, found = algorithm.init(target, channel), []
        channel.memory = memory or channel.memory
        for begin, end in itertools.pairwise([0, *rounds]):
            for k in range(begin, end):
                step = algorithm.step(k, state, target, channel).step_size
            found.append((evaluate_exact(target, state.w, channel).value - low) / (high - low))
        return found, step

    return spmd(size, main)[0]


@pytest.mark.parametrize("compressor", ["none", "quantised[levels=4]", "rand-k[share=0.5]", "natural"])
def test_diana_converges_linearly_on_different_shards(compressor):
    half, whole = gaps(Algorithm.make("diana"), 3, (400, 800), compressor)[0]
    assert whole < 1e-9
    assert half < 1e-4


@pytest.mark.parametrize(
    "compressor", ["none", "quantised[levels=4]", "rand-k[share=0.5]", "top-k[share=0.5]", "sign"]
)
def test_ef21_converges_linearly_on_different_shards(compressor):
    half, whole = gaps(Algorithm.make("ef21"), 3, (400, 800), compressor)[0]
    assert whole < 1e-9
    assert half < 1e-4


@pytest.mark.parametrize("compressor", ["none", "quantised[levels=4]", "rand-k[share=0.5]", "natural"])
def test_locodl_converges_linearly_on_different_shards(compressor):
    half, whole = gaps(Algorithm.make("locodl"), 3, (60, 120), compressor)[0]
    assert whole < 1e-9
    assert half < 1e-4


def test_locodl_needs_fewer_exchanges_with_local_steps():
    often, seldom = (gaps(Algorithm.make("locodl", {"probability": p}), 3, (20,), l2=0.01)[0][0] for p in (1.0, 0.25))
    assert seldom < 0.01 * often


def test_without_a_memory_the_noise_stays():
    """The same step with `--memory none` ends far from the optimum."""
    assert gaps(Algorithm.make("diana"), 3, (800,), "rand-k[share=0.5]", memory="none")[0][0] > 1e-5


def test_a_memory_that_is_not_theirs_is_refused():
    for name, memory in (
        ("diana", "error-feedback"),
        ("ef21", "difference"),
        ("compressed-sgd", "error-feedback"),
        ("locodl", "difference"),
    ):
        algorithm = Algorithm.make(name)

        def main(comm, algorithm=algorithm, memory=memory):
            with pytest.raises(ValueError, match="--memory"):
                algorithm.init(made(comm, "squared"), Channel(comm, 0, Compressor.make("natural"), memory))

        spmd(2, main)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_smoothness_is_measured(size):
    def main(comm):
        target, channel = objective("logistic", 0.0, 0.05, "csr", comm), Channel(comm)
        c = 0.25 * target.shard.weight
        own = np.linalg.eigvalsh(target.weighted_gram(c))[-1] if len(target.shard) else 0.0
        eigen = channel.sum(own, own * own)
        found = smoothness(target, channel)
        want = (eigen[0], size * channel.max(own)[0], np.sqrt(size * eigen[1]))
        np.testing.assert_allclose(found, want, rtol=0.06)
        whole = channel.sum(target.weighted_gram(c)).reshape(target.width, -1)
        assert found.mean >= np.linalg.eigvalsh(whole)[-1]

    spmd(size, main)


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_local_sgd_comes_to_its_floor(order):
    """The floor is of order γ² H² or lower: with a quarter of γ it falls to a third at least."""
    floors = []
    for step in (0.08, 0.02):
        algorithm = Algorithm.make("local-sgd", {"step_size": step, "local_steps": 40})
        late = gaps(algorithm, 3, (400, 440, 480), order=order)[0]
        assert max(late) < 10 * min(late)  # it no longer falls
        floors.append(np.mean(late))
    assert 1e-9 < floors[1] < floors[0] / 3
    assert floors[0] < 0.3


def test_local_sgd_drifts_to_the_optima_of_the_ranks():
    """In whole epochs the noise of the blocks cancels; the remaining drift grows with their number."""
    few, many = (
        gaps(Algorithm.make("local-sgd", {"step_size": 0.02, "local_steps": h}), 3, (400,))[0][0] for h in (80, 400)
    )
    assert 5 * few < many < 1e-3


def test_local_sgd_with_one_block_is_gradient_descent():
    """With H = b = n on every rank, the average of the ranks' steps is one gradient step."""
    algorithm = Algorithm.make("local-sgd", {"batch": 8, "local_steps": 8, "step_size": 0.1})

    def main(comm):
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((16, D)), rng.standard_normal(16)
        mine = slice(8 * comm.rank, 8 * comm.rank + 8)
        shard = Shard(DenseRows(x[mine].copy()), y[mine], np.ones(8), np.arange(8), 8 * comm.rank, 16, D)
        target, channel = Objective(Loss.make("squared"), Penalty.make("ridge", {"l2": 0.1}), shard), Channel(comm)
        state = algorithm.init(target, channel)
        assert algorithm.step(0, state, target, channel).epochs == 1.0
        algorithm.step(1, state, target, channel)
        w = np.zeros(D)
        for _ in range(2):
            w -= 0.1 * (x.T @ (x @ w - y) / 16 + 0.1 * w)
        np.testing.assert_allclose(state.w[0], w, atol=1e-12)

    spmd(2, main)


@pytest.mark.parametrize(("compressor", "memory"), [("none", "difference"), ("quantised[levels=2]", "none")])
def test_compressed_sgd_has_the_predicted_rate(compressor, memory):
    """The excess risk of the average is what the study predicts for these rows, over 6 runs."""
    from mpiopt.studies.compression.clients import RealClients
    from mpiopt.studies.compression.methods import Method
    from mpiopt.studies.compression.prediction import predict

    steps, runs, size = 600, 6, 2
    chosen = parse_spec(compressor)
    plugin = None if compressor == "none" else Compressor.make(chosen.name, chosen.options)

    def main(comm, seed):
        algorithm = Algorithm.make("compressed-sgd", {"batch": 2})
        target, channel = made(comm, "squared", "shuffled", 1e-9), Channel(comm, seed, plugin, memory)
        state = algorithm.init(target, channel)
        for k in range(steps):
            progress = algorithm.step(k, state, target, channel)
        return state.w[0], progress.step_size, target.shard.rows.values, target.shard.label

    found = [spmd(size, lambda comm, seed=seed: main(comm, seed)) for seed in range(runs)]
    source = RealClients(*(np.stack([rank[i] for rank in found[0]]) for i in (2, 3)), 2)
    excess = [0.5 * (r[0][0] - source.best) @ source.hessian @ (r[0][0] - source.best) for r in found]
    omega = plugin.variance(D) if plugin else 0.0
    method = Method(chosen.name, D, float(chosen.options.get("levels", 1)), omega)
    want = predict(source, method, memory, found[0][0][1], [steps], 0)
    assert np.mean(excess) == pytest.approx(want.grown[-1], rel=3 * want.spread / np.sqrt(runs) + 0.1)


@pytest.mark.parametrize(("rule", "omega"), [("omega", 15.0), ("plain", 0.0)])
def test_rules_for_the_step(rule, omega):
    def main(comm):
        target = made(comm, "squared")
        channel = Channel(comm, 0, Compressor.make("participation", {"share": 1 / 16}), "difference")
        state = Algorithm.make("compressed-sgd", {"rule": rule}).init(target, channel)
        square = channel.sum((target.shard.rows.values**2).sum() / TOTAL)[0] + 0.1 * D
        assert state.control.gamma == pytest.approx(0.5 / ((omega + 1) * square))

    spmd(2, main)


def test_rows_are_taken_from_both_forms():
    x = np.random.default_rng(0).standard_normal((9, 5)) * (np.random.default_rng(1).random((9, 5)) < 0.5)
    x[3] = 0.0
    at = np.array([3, 0, 8, 8, 2])
    got = take_rows(sparse(np.pad(x, ((0, 0), (0, 3)))), at)
    dense = np.zeros((5, got.width))
    for i in range(5):
        where = slice(got.indptr[i], got.indptr[i + 1])
        dense[i, got.indices[where]] = got.values[where]
    np.testing.assert_array_equal(dense[:, :5], x[at])
    np.testing.assert_array_equal(take_rows(DenseRows(x), at).values, x[at])


def test_baselines_are_never_chosen():
    baselines = [name for name, kind in Algorithm.known().items() if kind.baseline]
    assert baselines == [
        *(
            "adgt",
            "compressed-sgd",
            "datos",
            "dgd",
            "dgm-bb",
            "diana",
            "dlas",
            "ef21",
            "gradient-tracking",
            "gt-saga",
        ),
        *("local-sgd", "locodl", "push-saga", "s-dane", "scaffnew"),
    ]

    def main(comm):
        target = made(comm, "squared")
        for compressor in ("none", "natural"):
            assert not pick(parse_spec("auto"), target, 1e-6, comm, compressor)[0].first.baseline
        with pytest.raises(ValueError, match="no algorithm fits"):
            pick(parse_spec("auto[horizon=5]"), target, 1e-6, comm)
        with pytest.raises(ValueError, match="compressed-sgd needs a quadratic loss"):
            pick(parse_spec("compressed-sgd"), made(comm), 1e-6, comm)

    spmd(1, main)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compressed-sgd[rule=x]", "rule must be one of"),
        ("compressed-sgd[batch=0]", "batch must be at least 1"),
        ("local-sgd[batch=0]", "batch must be at least 1"),
        ("local-sgd[local_steps=-1]", "local-sgd: --local-steps must be a number of rows; only saga has auto"),
        ("diana[step_size=-1.0]", "step_size must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(text, message):
    chosen = parse_spec(text)
    with pytest.raises(ValueError, match=message):
        Algorithm.make(chosen.name, chosen.options)


def test_scaffnews_controls_sum_to_0_and_few_exchanges_do():
    """√κ rounds instead of κ: with the coin of its own it takes a tenth of the exchanges of gradient descent."""

    def main(comm):
        target, rounds = objective("logistic", 0.0, 1e-3, "dense", comm), []
        for options in ({}, {"local_steps": 1}):  # p = √(μ/L), and p = 1: gradient descent
            algorithm, channel = Algorithm.make("scaffnew", options), Channel(comm, seed=3)
            state = algorithm.init(target, channel)
            for k in range(4000):
                algorithm.step(k, state, target, channel)
                exact = evaluate_exact(target, state.w, channel)
                if np.linalg.norm(exact.gradient + target.ridge * state.w) < 1e-6:
                    break
            rounds.append(k + 1)
            assert np.abs(comm.sum(state.control.reshape(-1))).max() < 1e-12
        return rounds

    few, many = spmd(2, main)[0]
    assert 10 * few < many < 4000


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_s_dane_takes_few_rounds_of_local_work(order):
    """Its prox term follows how unlike the ranks are; one that is far too strong takes many more."""
    free, strong = (Algorithm.make("s-dane", {"proximity": p}) for p in (0.0, 10.0))
    assert gaps(free, 4, (20,), l2=1e-3, order=order)[0][0] < 1e-6
    assert gaps(strong, 4, (20,), l2=1e-3, order=order)[0][0] > 1e-4
