"""Proximal Newton on a working set: small sets, wide rows, collinear columns, and counts of its work."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from mpiopt.algorithms.second_order import working_set
from mpiopt.algorithms.second_order.working_set import WorkingSet
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.data.shard import CsrRows, DenseRows, Shard
from mpiopt.objective import passes
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from mpiopt.objective.restriction import restrict
from tests.cases.problems import SIZES
from tests.cases.problems import objective as small_problem

WIDE = (60, 400)  # rows, columns


def wide(loss, part, comm, l2=0.0, collinear=False, form="dense", size=WIDE):
    """Rows of which five columns matter; l1 is `part` of the smallest with which all weights are 0."""
    rng = np.random.default_rng(7)
    n, d = size
    x = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.5)
    if collinear:
        x[:, 1::2] = x[:, ::2]
    margin = x[:, :10:2] @ np.array([3.0, -2.0, 2.0, -1.0, 1.0])
    y = {
        "squared": margin + 0.1 * rng.normal(size=n),
        "huber": margin + rng.standard_t(1.5, n),
        "logistic": np.where(margin + rng.normal(size=n) > 0, 1.0, -1.0),
        "softmax": np.digitize(margin, [-2.0, 2.0]).astype(float),
        "poisson": rng.poisson(np.exp(margin / 4)).astype(float),
    }[loss]
    stored = sparse.csr_matrix(x)
    csr = CsrRows(stored.indptr.astype(np.int64), stored.indices, stored.data, d)
    begin, end = n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size
    mine = passes_rows(csr, begin, end) if form == "csr" else DenseRows(x[begin:end])
    shard = Shard(mine, y[begin:end], np.ones(end - begin), np.arange(end - begin), begin, n, d)
    target = Objective(Loss.make(loss), Penalty.make("lasso", {"l1": 1.0}), shard, 3)
    largest = np.abs(evaluate_exact(target, target.zeros(), Channel(comm)).gradient).max()
    h = Penalty.make("elastic-net", {"l1": float(part * largest), "l2": l2})
    return Objective(Loss.make(loss), h, shard, 3)


def passes_rows(rows, begin, end):
    """The rows from `begin` to `end`."""
    stored = slice(rows.indptr[begin], rows.indptr[end])
    indptr = rows.indptr[begin : end + 1] - rows.indptr[begin]
    return CsrRows(indptr, rows.indices[stored], rows.values[stored], rows.width)


def violation(target, w, exact):
    """The largest violation of the optimality conditions, relative to l1."""
    g = exact.gradient + target.ridge * w
    outside = np.maximum(np.abs(g) - target.threshold, 0.0)
    return np.where(w == 0, outside, np.abs(g + np.sign(w) * target.threshold)).max() / target.threshold.max()


def run(algorithm, target, comm, rounds=25, enough=1e-10, compressor=None):
    """Run until the optimality conditions hold; return the state, the rounds, the epochs and the values."""
    channel = Channel(comm, 3, compressor, "none")
    state, epochs, values = algorithm.init(target, channel), 0.0, []
    for k in range(rounds):
        info = algorithm.step(k, state, target, channel)
        epochs += info.epochs
        values.append(info.exact.value)
        if violation(target, state.w, info.exact) <= enough:
            break
    exact = evaluate_exact(target, state.w, channel)
    assert violation(target, state.w, exact) <= 10 * enough
    return state, k + 1, epochs, values


@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("loss", ["squared", "huber", "logistic", "softmax", "poisson"])
@pytest.mark.parametrize("part", [0.5, 0.05, 0.005])
def test_more_columns_than_rows(loss, part, form):
    target = wide(loss, part, single(), form=form)
    state, rounds, epochs, values = run(WorkingSet(), target, single())
    assert np.count_nonzero(state.w) < 3 * WIDE[0]
    assert all(b <= a + 1e-13 * abs(a) for a, b in itertools.pairwise(values)), "F never increases"
    assert rounds <= 15
    assert epochs < 60


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_collinear_columns(loss):
    target = wide(loss, 0.05, single(), collinear=True)
    assert run(WorkingSet(), target, single())[1] <= 12


def test_all_weights_are_zero():
    target = wide("logistic", 1.0001, single())
    channel, algorithm = Channel(single()), WorkingSet()
    state = algorithm.init(target, channel)
    info = algorithm.step(0, state, target, channel)
    assert not state.w.any()
    assert info.step_size == 0.0
    assert info.exact.value == evaluate_exact(target, target.zeros(), channel).value


def test_a_support_larger_than_the_limit_is_minimised_in_parts():
    target = wide("squared", 0.005, single(), l2=0.1, size=(200, 60))
    state = run(WorkingSet(limit=20), target, single(), rounds=400, enough=1e-8)[0]
    assert np.count_nonzero(state.w) > 20


def test_every_number_of_ranks_gives_the_same_model():
    answers = [
        spmd(size, lambda c: run(WorkingSet(), wide("logistic", 0.05, c, form="csr"), c)[0].w)[0]
        for size in (1, 2, 3)
    ]
    for w in answers[1:]:
        np.testing.assert_allclose(w, answers[0], atol=1e-8)


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_a_curvature_in_16_bits_gives_the_model_for_fewer_bytes(loss):
    def main(comm, compressor):
        state, rounds, *_ = run(WorkingSet(), wide(loss, 0.05, comm, 1e-3), comm, compressor=compressor)
        return state.w, rounds, comm.bytes_sent

    (exact, rounds, whole), *_ = spmd(3, lambda comm: main(comm, None))
    (rounded, more, less), *others = spmd(3, lambda comm: main(comm, Compressor.make("float16")))
    assert all(found[0].tobytes() == rounded.tobytes() for found in others)
    np.testing.assert_allclose(rounded, exact, atol=1e-8)
    assert more <= rounds + 1
    assert less < 0.7 * whole


def test_an_interrupted_run_goes_on_with_the_same_bits_as_the_set_grows():
    def main(comm):
        target, channel, algorithm = wide("logistic", 0.02, comm), Channel(comm), WorkingSet()
        state, sizes = algorithm.init(target, channel), set()
        for k in range(6):
            other = algorithm.blank(target, comm.size)
            for field in ("w", "value", "gradient", "control"):
                getattr(other, field)[...] = getattr(state, field)
            algorithm.rebuild(other, target, channel)
            sizes.add(state.control.largest)
            algorithm.step(k, state, target, channel)
            algorithm.step(k, other, target, channel)
            for field in ("w", "value", "gradient", "control"):
                assert getattr(other, field).tobytes() == getattr(state, field).tobytes(), field
        return len(sizes)

    assert spmd(2, main)[0] > 1


def test_a_set_costs_its_part_of_a_pass(monkeypatch):
    target, found = wide("squared", 0.5, single(), size=(60, 4000)), []
    monkeypatch.setattr(working_set, "SetSolver", lambda *a: found.append(SOLVER(*a)) or found[-1])
    rounds, epochs = run(WorkingSet(), target, single())[1:3]
    assert [solver.share for solver in found] == [100 / 4000] * rounds
    assert epochs < 1 + rounds * 1.2


SOLVER = working_set.SetSolver


@pytest.mark.parametrize("loss", sorted(Loss.known()))
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_a_restriction_is_the_objective_in_its_columns(loss, form):
    def main(comm):
        target, channel, rng = small_problem(loss, 0.02, 0.05, form, comm), Channel(comm), np.random.default_rng(3)
        w = 0.3 * rng.normal(size=target.zeros().shape) * (np.arange(target.width) < 7)
        chosen = (rng.random(w.shape) < 0.6) & (np.arange(target.width) < 7)
        exact = evaluate_exact(target, w, channel)
        part = restrict(target, channel, w, chosen)
        point = part.start(w, exact.value, exact.gradient)
        p = rng.normal(size=point.w.shape) * part.chosen
        change = passes.margins(part.rows, p)
        moved, whole = part.evaluate(point.w + p, point.margins + change), w.copy()
        whole[:, part.columns] += p
        wanted = evaluate_exact(target, whole, channel)
        assert moved.value == pytest.approx(wanted.value, rel=1e-12)
        np.testing.assert_allclose(moved.gradient, wanted.gradient[:, part.columns], atol=1e-12)
        assert part.values(point, p, change, np.array([0.0, 1.0])) == pytest.approx([exact.value, wanted.value])
        if loss in ("squared-hinge", "huber"):  # their slopes have corners
            return
        h, step = part.curvature(point.margins, 0.0), 1e-6 * p
        near = part.evaluate(point.w + step, point.margins + 1e-6 * change)
        difference = part.smooth_gradient(near) - part.smooth_gradient(point)
        np.testing.assert_allclose(1e6 * difference[part.chosen], h @ p[part.chosen], rtol=1e-4, atol=1e-5)

    for size in SIZES:
        spmd(size, main)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_chosen_columns_are_those_of_the_rows(kind):
    x = np.arange(40.0).reshape(5, 8) * (np.arange(40).reshape(5, 8) % 3 > 0)
    columns = np.array([0, 3, 4, 7])
    stored = sparse.csr_matrix(x)
    csr = CsrRows(stored.indptr.astype(np.int64), stored.indices, stored.data.astype(kind), 8)
    for rows in (DenseRows(x.astype(kind)), csr):
        part = passes.chosen_columns(rows, columns)
        assert part.values.dtype == kind
        assert part.width == 4
        np.testing.assert_array_equal(passes.dense_block(part, slice(0, 5), 4), x[:, columns])


@pytest.mark.parametrize("count", [0, 1, 3, 5, 8])
def test_the_largest_entries_are_those_of_a_stable_sort(count):
    rank = np.array([[1.0, np.inf, 2.0, 2.0], [-np.inf, 2.0, np.inf, 0.0]])
    wanted = np.zeros(8, dtype=bool)
    wanted[np.argsort(-rank, axis=None, kind="stable")[:count]] = True
    assert np.array_equal(working_set.largest(rank, count).ravel(), wanted)
