"""The step sizes of saga: names, the line search on sampled blocks, constants of theory, AdGD by exchanges."""

import numpy as np
import pytest

from mpiopt.algorithms.decentralised.dlas import Dlas
from mpiopt.algorithms.saga import line_search, lipschitz
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.step_sizes.base import StepSize
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.config import job_file
from mpiopt.data.shard import CsrRows, DenseRows, Shard
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.passes import blocks
from mpiopt.objective.penalties.base import Penalty
from tests.cases.problems import objective, sparse

ROWS, WIDTH = 43, 8
LOSSES = sorted(Loss.known())


def made(loss, form="dense", scale=1.0):
    """Return an objective of 43 rows, and its rows as an array."""
    rng = np.random.default_rng(4)
    x = scale * rng.normal(size=(ROWS, WIDTH)) * (rng.random((ROWS, WIDTH)) < 0.6)
    kind = Loss.make(loss)
    label = {"binary": np.sign(x[:, 0] + 0.1), "multiclass": np.arange(ROWS) % 3.0}.get(kind.target, np.abs(x[:, 1]))
    rows = DenseRows(x) if form == "dense" else sparse(x)
    rows = rows if form == "dense" else CsrRows(rows.indptr, rows.indices, rows.values, WIDTH)
    shard = Shard(rows, label, rng.uniform(0.5, 1.5, ROWS), np.arange(ROWS), 0, ROWS, WIDTH)
    return Objective(kind, Penalty.make("ridge", {"l2": 0.1}), shard, 3), x


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_blocks_have_their_margins_and_gram_matrices(form):
    target, x = made("logistic", form)
    w, column = np.random.default_rng(1).normal(size=(2, WIDTH)), np.linspace(0.1, 2.0, WIDTH)
    found = blocks(target.shard.rows, w, column, np.array([8, 40]), 8)
    np.testing.assert_allclose(found.margins[0], x[8:16] @ w.T)
    np.testing.assert_allclose(found.grams[0], (x[8:16] * column) @ x[8:16].T, atol=1e-14)
    np.testing.assert_allclose(found.grams[1, :3, :3], (x[40:] * column) @ x[40:].T, atol=1e-14)
    assert list(found.rows[1]) == [40, 41, 42, -1, -1, -1, -1, -1]
    assert not found.margins[1, 3:].any()
    assert not found.grams[1, 3:].any()


@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_descent_test_is_the_inequality_of_the_paper(loss, form):
    target, x = made(loss, form)
    w = 0.1 * np.random.default_rng(1).normal(size=(target.outputs, WIDTH))
    column, starts = np.linspace(0.5, 2.0, WIDTH), np.array([16, 40])
    test = line_search.DescentTest(target, w, column, starts, 8)
    y, s = target.shard.label, target.shard.weight

    def block_value(at, block):
        return (s[block] * target.loss.value(x[block] @ at.T, y[block])).sum() * 6 / ROWS  # six blocks of 43 rows

    for bound in np.geomspace(1e-3, 1e3, 13):
        holds = []
        for start in starts:
            block = slice(start, min(start + 8, ROWS))
            slope = s[block, None] * target.loss.slope(x[block] @ w.T, y[block]) * 6 / ROWS
            g = slope.T @ x[block]
            lower = block_value(w - column * g / bound, block)
            holds.append(lower <= block_value(w, block) - (column * g * g).sum() / (2 * bound))
        assert test.holds(bound) == all(holds), bound


def test_the_search_finds_the_smoothness_of_least_squares_and_follows_it():
    target, x = made("squared", scale=1e3)
    w, column = np.ones((1, WIDTH)), np.ones(WIDTH)
    test = line_search.DescentTest(target, w, column, np.array([8]), 8)
    block, s = x[8:16], target.shard.weight[8:16]
    g = ((s * (block @ w[0] - target.shard.label[8:16])) @ block) * 6 / ROWS
    along = (s * (block @ g) ** 2).sum() * 6 / ROWS / (g @ g)
    found = line_search.updated(test, 0.0, 1.0)
    assert along <= found < 2 * along * (1 + 1e-12)
    assert line_search.updated(test, 64.0 * found, 0.5) == pytest.approx(64.0 * found / np.sqrt(2.0))
    assert along <= line_search.updated(test, found / 100.0, 1.0) <= 2 * along
    still = line_search.DescentTest(target, 0.0 * w, 0.0 * column, np.array([8]), 8)
    assert line_search.updated(still, 0.0, 1.0) == 0.0
    assert line_search.updated(still, 3.0, 1.0) == 3.0


def test_the_blocks_between_searches_are_the_blocks_of_the_round():
    starts = np.arange(0, 800, 8)
    for epoch in (1, 7, 100, 1000):
        pieces = list(line_search.between_searches(starts, epoch))
        np.testing.assert_array_equal(np.concatenate(pieces), starts)
        assert all(0 < len(line_search.sampled(piece)) <= len(piece) for piece in pieces)


def test_the_ranks_agree_on_the_largest_smoothness():
    def main(comm):
        target, channel = objective("logistic", 0.0, 0.05, "dense", comm), Channel(comm, seed=3)
        saga = Saga(step_size="line-search")
        state = saga.init(target, channel)
        for k in range(4):
            saga.step(k, state, target, channel)
        return state.work.smoothness, state.steps.step_size(state.control, state.work)

    found = spmd(3, main)
    assert len(set(found)) == 1
    assert found[0][0] > 0.0
    assert found[0][1] == pytest.approx(1.0 / (found[0][0] + 0.05))


def test_theory_takes_the_largest_constants_of_all_shards():
    def main(comm):
        target = objective("logistic", 0.0, 0.05, "dense", comm)
        plain = np.ones(target.width)
        known = lipschitz.constants(target, target.zeros(), plain, lipschitz.EVERY_ROW, Channel(comm))
        state = Saga(step_size="theoretical").init(target, Channel(comm))
        x, c = target.shard.rows.values, 0.25 * target.shard.weight
        return known, state.steps.step_size(state.control, state.work), x, c

    ran = spmd(3, main)
    known, gamma = ran[0][:2]
    assert all(other[:2] == (known, gamma) for other in ran)
    assert known.row == pytest.approx(max((c * (x * x).sum(axis=1)).max() for *_, x, c in ran))
    largest = max(np.linalg.eigvalsh((x.T * c) @ x / len(x))[-1] for *_, x, c in ran)
    assert largest <= known.mean <= 1.06 * largest
    row, mean = known.row + 0.05, known.mean + 0.05
    assert gamma == pytest.approx(1.0 / min(3.0 * row, mean + 6.0 * row / 8))


def test_a_step_by_hand_is_never_lengthened_and_a_chosen_one_is():
    def main(comm, rule):
        target, channel = objective("logistic", 0.0, 0.001, "dense", comm), Channel(comm, seed=3)
        saga = Saga(step_size=rule, preconditioner="none", warm_start=False)
        state, steps = saga.init(target, channel), []
        for k in range(24):
            steps.append(saga.step(k, state, target, channel).step_size)
        return max(steps) / steps[0], steps[0]

    for rule in (1e-3, "theoretical"):
        assert spmd(2, lambda c, r=rule: main(c, r))[0][0] == 1.0
    assert spmd(2, lambda c: main(c, 1e-3))[0][1] == 1e-3
    assert spmd(2, lambda c: main(c, "auto"))[0][0] >= 4.0


def test_a_longer_step_that_failed_is_taken_back_and_tried_by_less():
    def main(comm):
        target, channel = objective("logistic", 0.0, 0.05, "dense", comm), Channel(comm, seed=3)
        state = Saga(preconditioner="none", warm_start=False).init(target, channel)
        exact = evaluate_exact(target, state.w, channel)
        seen = []
        for tried in (0, 2, 0, 0):
            state.steps.adapt(state, exact, tried, target, channel)
            seen.append((state.control.scale, state.control.lengthened, state.control.growth))
        return seen

    less = np.sqrt(2.0)
    want = [(2.0, 2.0, 2.0), (1.0, 0.0, less), (1.0, 0.0, less), (less, less, less)]
    np.testing.assert_allclose(spmd(2, main)[0], want)


def test_adgd_lengthens_steps_within_the_bound_of_single_rows():
    def main(comm):
        target, channel = objective("squared", 0.0, 0.001, "dense", comm), Channel(comm, seed=3)
        saga = Saga(step_size="global", preconditioner="none", warm_start=False)
        state, steps = saga.init(target, channel), []
        known = lipschitz.constants(target, state.w, np.ones(target.width), lipschitz.SAMPLE, channel)
        for k in range(12):
            steps.append(saga.step(k, state, target, channel).step_size / state.control.scale)
        return steps, known, state.control.adgd_step

    ran = spmd(3, main)
    assert all(steps == ran[0][0] for steps, *_ in ran)
    steps, known, pace = ran[0]
    least, most = lipschitz.step(known, 8), lipschitz.step(known._replace(mean=0.0), 8)
    assert least * (1 - 1e-12) <= min(steps)
    assert 1.05 * least < max(steps) <= most
    shown = known._replace(mean=min(0.5 / pace, known.mean))
    assert steps[-1] == pytest.approx(lipschitz.step(shown, 8))


def test_theory_wants_a_bounded_curvature_and_dlas_its_own_rules():
    with pytest.raises(
        ValueError, match="step_size theoretical needs a loss whose curvature is bounded; that of poisson"
    ):
        spmd(1, lambda c: Saga(step_size="theoretical").init(objective("poisson", 0.0, 0.1, "dense", c), Channel(c)))
    with pytest.raises(ValueError, match="dlas does not accept the rule line-search; choose one of fixed, global"):
        Dlas(rule="line-search")


def test_flags_and_job_files_give_the_same_options():
    for words in ([("step-size", "line-search")], [("algorithm", "saga[step_size=line-search]")]):
        job = job_file.read("", [("algorithm", "saga"), *words])
        assert job.algorithm.options == {"step_size": "line-search"}
        assert job_file.read(job.text()) == job
    assert job_file.read("step_size = 0.25\nalgorithm = 'saga'").algorithm.options == {"step_size": 0.25}
    assert job_file.read("", [("algorithm", "lbfgs"), ("step-size", "auto")]).algorithm.options == {}
    assert job_file.read("step_size = 0.25", [("step-size", "auto")]).algorithm.options == {}


def test_the_list_says_which_algorithms_take_a_rule():
    shown = {name: kind.figures()["for"] for name, kind in StepSize.known().items()}
    assert shown["line-search"] == "saga, graph-saga"
    assert shown["harmonic"] == "dlas"
    assert "saga" in shown["theoretical"]
