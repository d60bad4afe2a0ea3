"""Newton by conjugate gradients: Hessian products, searches on margins, preconditioner, hard problems."""

import numpy as np
import pytest

import mpiopt
from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.preconditioner import positive
from mpiopt.algorithms.second_order.margin_search import Line, search_length
from mpiopt.algorithms.second_order.newton_cg import TUNING, product_alike
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.objective.curvature import curvature, used_columns
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.row_hessians import RowHessians
from tests.cases.problems import objective

LOSSES = sorted(Loss.known())


def some_model(target):
    """Return a model that is 0 at the padding, as all models are."""
    w = target.zeros()
    used = used_columns(target)
    w[:, :used] = np.random.default_rng(5).normal(size=(len(w), used)) / 3
    return w


def fit(x, y, **options):
    return mpiopt.fit(x, y, algorithm="newton-cg", **{"tol": 1e-9, "max_epochs": 2000, **options})


@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("loss", LOSSES)
def test_products_and_diagonal_are_those_of_the_hessian(loss, form):
    def main(comm):
        target, channel = objective(loss, 0.0, 0.0, form, comm), Channel(comm)
        w, p, used = some_model(target), some_model(target)[:, ::-1].copy(), used_columns(target)
        p[:, used:] = 0.0
        hessians = RowHessians.at(target, target.predict(w))
        product = hessians.product(p)
        h = curvature(target, w, channel)
        share = channel.sum(product.share).reshape(p.shape)[:, :used].reshape(-1)
        np.testing.assert_allclose(share, h @ p[:, :used].reshape(-1), atol=1e-12)
        np.testing.assert_allclose(product.margins, target.predict(p), atol=1e-12)
        bend = float(channel.sum(hessians.form(product.margins, product.margins) / target.shard.total)[0])
        assert bend == pytest.approx(float((share * p[:, :used].reshape(-1)).sum()), rel=1e-10)
        diagonal = channel.sum(hessians.diagonal()).reshape(p.shape)[:, :used].reshape(-1)
        np.testing.assert_allclose(diagonal, h.diagonal(), atol=1e-12)

    spmd(2, main)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_length_is_near_the_minimum_along_the_line(loss):
    def main(comm):
        target, channel = objective(loss, 0.0, 0.05, "csr", comm), Channel(comm)
        w = some_model(target)
        exact = evaluate_exact(target, w, channel)
        g = exact.gradient + target.ridge * w
        p = -g / 100  # much too short
        numbers = (
            (g * p).sum(),
            (target.ridge * w * w).sum(),
            (target.ridge * w * p).sum(),
            (target.ridge * p * p).sum(),
        )
        found = search_length(
            Line(target.predict(w), target.predict(p), exact.value, *map(float, numbers)), target, channel
        )
        there = evaluate_exact(target, w + found.t * p, channel)
        assert there.value == pytest.approx(found.value, rel=1e-12)
        slope = ((there.gradient + target.ridge * (w + found.t * p)) * p).sum()
        assert abs(slope) <= 0.1 * -numbers[0]
        assert slope == pytest.approx(found.slope, abs=1e-9)

    spmd(3, main)


def test_a_line_that_does_not_descend_has_length_zero():
    def main(comm):
        target, channel = objective("logistic", 0.0, 0.05, "dense", comm), Channel(comm)
        n = len(target.shard)
        return search_length(Line(np.zeros((n, 1)), np.ones((n, 1)), 1.0, 0.5, 0.0, 0.0, 0.0), target, channel).t

    assert spmd(1, main) == [0.0]


def test_a_column_without_curvature_gets_the_largest():
    assert positive(np.array([[2.0, 0.0]])).tolist() == [[2.0, 2.0]]
    assert positive(np.zeros((1, 2))).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("columns", [5, 300, 2500])
def test_fewer_rows_than_columns(columns, intercept):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, columns)), np.where(rng.random(60) < 0.4, -1.0, 1.0)
    found = fit(x, y, intercept=intercept)
    assert found.certified
    assert all(b.objective <= a.objective + 1e-13 for a, b in zip(found.history, found.history[1:], strict=False))


def test_collinear_and_empty_columns():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 4))
    x = np.hstack([x, x[:, :2] + x[:, 2:], np.zeros((400, 1)), np.ones((400, 1))])
    y = np.where(x[:, 0] + rng.normal(size=400) > 0, 1.0, -1.0)
    found = fit(x, y)
    assert found.certified
    assert found.coef[0, 6] == 0.0


@pytest.mark.parametrize("l2", [0.0, 1e-3])
def test_no_row_has_curvature_at_the_start(l2):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(300, 3))
    y = 1000.0 + x @ [3.0, 0.0, -2.0] + rng.normal(size=300)
    found = fit(x, y, loss="huber[delta=0.5]", l2=l2, tol=1e-8)
    assert found.certified
    assert found.intercept[0] == pytest.approx(1000.0, abs=0.5)


def test_nearly_separable_rows_never_raise_the_objective():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2000, 20)) * np.logspace(-2, 2, 20)
    y = np.where(x @ rng.normal(size=20) + 1e-3 * rng.normal(size=2000) > 0, 1.0, -1.0)
    found = fit(x, y)
    values = [row.objective for row in found.history]
    assert found.certified
    assert max(np.diff(values)) <= 1e-14 * values[0]


def test_least_squares_keeps_its_preconditioner_and_solves_accurately_from_the_first_round_on():
    def main(comm):
        target, channel = objective("squared", 0.0, 0.05, "dense", comm), Channel(comm)
        algorithm = Algorithm.make("newton-cg")
        state = algorithm.init(target, channel)
        algorithm.step(0, state, target, channel)
        first, forcing = state.inverse, [state.control.forcing]
        algorithm.step(1, state, target, channel)
        return (
            state.inverse is first,
            [*forcing, state.control.forcing],
            algorithm.init(target, channel).control.forcing,
        )

    least = TUNING.least_forcing
    assert spmd(1, main) == [(True, [least, least], least)]


def test_products_must_be_positive():
    with pytest.raises(ValueError, match="products"):
        Algorithm.make("newton-cg", {"products": 0})


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
def test_the_product_that_rounds_alike_is_the_product(size):
    r, z = np.random.default_rng(size).normal(size=(2, 2, size))
    assert product_alike(r, z) == pytest.approx(float((r * z).sum()), rel=1e-12, abs=1e-12)


def test_a_product_of_the_hessian_costs_one_exchange_with_a_diagonal():
    exchanges = []

    def main(comm):
        for products in (5, 10):
            target, channel = objective("logistic", 0.0, 1e-6, "csr", comm), Channel(comm)
            algorithm = Algorithm.make("newton-cg", {"sampled": False, "products": products})
            state = algorithm.init(target, channel)
            state.control.forcing = 0.0
            before = channel.traffic.exchanges
            done = algorithm._direction(0, state, *prepared(algorithm, state, target, channel), channel)
            exchanges.append((done.products, channel.traffic.exchanges - before))

    spmd(1, main)
    (few, before), (more, after) = exchanges
    assert more > few
    assert after - before == more - few


def prepared(algorithm, state, target, channel):
    """Make the preconditioner; return what the direction needs."""
    hessians = RowHessians.at(target, state.margins)
    algorithm._precondition(state, hessians, target, channel)
    return hessians, target


@pytest.mark.parametrize("compressor", ["float16", "bfloat16"])
@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_products_in_16_bits_cost_few_more_and_the_certificate_holds(loss, compressor):
    algorithm = Algorithm.make("newton-cg", {"sampled": False})

    def main(comm, made):
        target, channel = objective(loss, 0.0, 0.01, "csr", comm), Channel(comm, 3, made, "none")
        state, epochs = algorithm.init(target, channel), 0.0
        for k in range(30):
            info = algorithm.step(k, state, target, channel)
            epochs += info.epochs
            g = info.exact.gradient + target.ridge * state.w
            if float(np.abs(g).max()) < 1e-8:
                return epochs, float(state.value[0])
        raise AssertionError("not there after 30 rounds")

    (exact, best), *_ = spmd(3, lambda comm: main(comm, None))
    (rounded, value), *others = spmd(3, lambda comm: main(comm, Compressor.make(compressor)))
    assert others == [(rounded, value)] * 2
    assert value == pytest.approx(best, rel=1e-12)
    assert rounded <= 1.3 * exact + 3.0


def test_coarser_products_are_refused_with_the_reason():
    x, y = np.eye(8), np.tile([-1.0, 1.0], 4)
    with pytest.raises(ValueError, match="newton-cg takes float16 and bfloat16 only: its steps need"):
        fit(x, y, l2=0.1, compress="quantised")
    assert fit(x, y, l2=0.1, compress="float16").certified
