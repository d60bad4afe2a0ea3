"""What compressed exchanges are made of: coordinates, short sums of curvatures, bounds, and what is refused."""

import math

import numpy as np
import pytest

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.preconditioner import root_of
from mpiopt.algorithms.saga import exchange
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.compress.compressors.quantised import Quantised
from mpiopt.compress.symmetric_sum import (
    LARGEST_ERROR,
    curvature_sum,
    error_norm,
    from_lower_triangle,
    lower_triangle,
    symmetric_sum,
)
from mpiopt.compress.whitening import Scaled, Whitened
from mpiopt.core.config.job import Job
from mpiopt.core.config.spec import parse_spec
from mpiopt.objective import duality_gap as reach
from mpiopt.objective.duality_gap import certify, duality_gap
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.training.channel_setup import open_channel
from tests.cases.problems import objective

# ---- certificates from a gradient that is off


@pytest.mark.parametrize("loss", ["logistic", "squared", "softmax"])
@pytest.mark.parametrize("penalty", [(0.0, 0.05), (0.02, 0.05), (0.02, 0.0), (0.0, 0.0)], ids=str)
def test_a_certificate_from_a_gradient_that_is_off_bounds_the_true_one(loss, penalty):
    def main(comm):
        rng = np.random.default_rng(1)
        target, channel = objective(loss, *penalty, "dense", comm), Channel(comm)
        labels, start = reach.label_statistics(target, channel), evaluate_exact(target, target.zeros(), channel)
        state = Newton().init(target, channel)
        for k in range(15):
            Newton().step(k, state, target, channel)
        for far in (0.0, 1e-3, 1.0):
            w = state.w + far * rng.normal(size=state.w.shape) * (np.arange(target.width) < 7)
            exact = evaluate_exact(target, w, channel)
            true = certify(target, w, exact, start, labels)
            for size in (1e-9, 1e-4, 0.1):
                for e in worst(exact, target, w, rng):
                    e *= size / max(np.linalg.norm(e), 1e-300)
                    off = certify(target, w, Evaluation(exact.value, exact.gradient + e, size), start, labels)
                    assert off.kind == true.kind
                    assert off.value >= true.value * (1 - 1e-9) - 1e-15

    spmd(1, main)


def worst(exact, target, w, rng):
    """Give directions of an error: any, one column, the intercept alone, and that in which the gap falls fastest."""
    used = np.arange(target.width) < 7
    yield rng.normal(size=w.shape) * used
    yield np.ones_like(w) * (np.arange(target.width) == 2)
    yield np.sign(w + 1e-9) * (np.arange(target.width) == 6)
    yield -(exact.gradient + target.ridge * w) * used
    yield -exact.gradient * used


def test_the_bound_is_attained_by_the_ridge():
    w, v, e = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]]), 0.5
    ones, zeros = np.full(2, 2.0), np.zeros(2)
    slope = v / 2.0 - w
    worst = v + e * slope / np.linalg.norm(slope)
    assert duality_gap(w, v, zeros, ones, e) == pytest.approx(duality_gap(w, worst, zeros, ones), rel=1e-12)


# ---- sums of curvatures in few bits


def shares(size, d, condition, seed=0):
    """Give positive semi-definite shares of one matrix with that condition number, in unlike units."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 4 * d, d)) @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    x = x @ np.diag(np.geomspace(1.0, condition**-0.5, d)) @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    x *= np.geomspace(1e-3, 1e3, d)
    return [a.T @ a for a in x]


def summed(size, parts, extra=None, compressor="quantised"):
    def main(comm):
        channel = Channel(comm, 0, Compressor.make(compressor))
        mine = parts[comm.rank].copy()
        whole = curvature_sum(mine, np.zeros_like(mine) if extra is None else extra, channel)
        assert mine.tobytes() == parts[comm.rank].tobytes()
        return whole, channel.traffic.bytes_sent

    found = spmd(size, main)
    assert len({w.tobytes() for w, _ in found}) == 1
    return found[0]


def off(whole, exact):
    """Give ‖P^{-1/2} E P^{-1/2}‖."""
    root = root_of(exact).inverse
    return float(np.linalg.norm(root @ (whole - exact) @ root.T, 2))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize(("condition", "bits"), [(1.0, 16), (1e3, 16), (1e8, 32)])
def test_curvatures_travel_in_as_few_bits_as_the_metric_bears(size, condition, bits):
    d = 12
    parts = shares(size, d, condition)
    whole, sent = summed(size, parts)
    exact = sum(parts)
    assert (whole == whole.T).all()
    np.testing.assert_allclose(whole.diagonal(), exact.diagonal(), rtol=1e-13)
    sigma = math.sqrt(size / 12) / 32000 * (1.0 if bits == 16 else size / 64000)
    assert off(whole, exact) <= 1.5 * error_norm(exact, sigma) <= 1.5 * LARGEST_ERROR
    assert off(whole, exact) > 0.02 * error_norm(exact, sigma)  # the estimate is of that size
    words = d * (d + 1) // 2 * 2
    assert sent == (size - 1) * (8 * d + 8 + words * bits // 16)


def test_a_ridge_makes_the_first_bits_enough():
    parts = shares(3, 12, 1e8)
    extra = np.diag(sum(parts).diagonal()) * 0.01
    assert summed(3, parts, extra)[1] < summed(3, parts)[1]
    assert off(summed(3, parts, extra)[0] + extra, sum(parts) + extra) <= LARGEST_ERROR


def test_sums_are_exact_where_16_bits_are_no_numbers_for_them():
    rng = np.random.default_rng(0)
    parts = [a @ a.T for a in rng.normal(size=(3, 4, 4))]
    huge = [p * 1e300 for p in parts]
    np.testing.assert_allclose(summed(3, huge)[0], sum(huge), rtol=1e-3)
    infinite = [np.where(np.eye(4) > 0, np.inf, p) for p in parts]
    assert np.isinf(summed(3, infinite)[0].diagonal()).all()
    nan = [np.where(np.eye(4) > 0, np.nan, p) if i == 1 else p for i, p in enumerate(parts)]
    assert np.isnan(summed(3, nan)[0].diagonal()).all()
    tiny = [p * 1e-318 for p in parts]
    assert np.isfinite(summed(3, tiny)[0]).all()
    empty = [p * (np.arange(4) != 2) * (np.arange(4) != 2)[:, None] for p in parts]
    found = summed(3, empty)[0]
    assert not found[2].any()
    assert off(found + np.diag([0, 0, 1.0, 0]), sum(empty) + np.diag([0, 0, 1.0, 0])) < LARGEST_ERROR


def test_a_rank_without_rows_adds_nothing():
    parts = [*shares(2, 6, 10.0), np.zeros((6, 6))]
    assert off(summed(3, parts)[0], sum(parts)) < LARGEST_ERROR


@pytest.mark.parametrize("d", [1, 2, 5])
def test_half_of_a_symmetric_matrix_is_enough(d):
    a = np.random.default_rng(d).normal(size=(d, d))
    a += a.T
    assert lower_triangle(a).size == d * (d + 1) // 2
    assert from_lower_triangle(lower_triangle(a)).tobytes() == a.tobytes()
    assert (spmd(3, lambda c: symmetric_sum(a, Channel(c)))[0] == 3 * a).all() or d > 1
    np.testing.assert_allclose(spmd(3, lambda c: symmetric_sum(a, Channel(c)))[0], 3 * a)


def test_the_spread_of_what_cannot_be_a_metric_is_infinite():
    assert error_norm(np.array([[1.0, 2.0], [2.0, 1.0]]), 1e-3) == math.inf
    assert error_norm(np.diag([1.0, 4.0, 0.0]), 1e-3) == pytest.approx(2e-3 * math.sqrt(2))


# ---- coordinates

WIDTH = 8


def whitened(columns, outputs):
    rng = np.random.default_rng(2)
    a = rng.normal(size=(30, columns * outputs)) * np.geomspace(1e-3, 1e3, columns * outputs)
    p = a.T @ a
    root = root_of(p)
    return Whitened(root.lower, root.inverse, columns, WIDTH), p


@pytest.mark.parametrize(("outputs", "together"), [(1, 1), (3, 1), (3, 3)])
def test_coordinates_are_those_of_the_metric_and_are_undone(outputs, together):
    here, p = whitened(6, together)
    rng = np.random.default_rng(4)
    w, g = rng.normal(size=(2, outputs, WIDTH))
    w[:, 6:] = g[:, 6:] = 0.0
    u, v = here.of_model(w), here.of_gradient(g)
    np.testing.assert_allclose(here.model(u), w, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(here.gradient(v), g, rtol=1e-9, atol=1e-9)
    assert (u * v).sum() == pytest.approx((w * g).sum(), rel=1e-8)
    flat, dual = (x[:, :6].reshape(-1, len(p)) for x in (w, g))
    assert (u * u).sum() == pytest.approx(np.einsum("ai,ij,aj", flat, p, flat), rel=1e-9)
    assert (v * v).sum() == pytest.approx((dual * np.linalg.solve(p, dual.T).T).sum(), rel=1e-6)
    noise = rng.normal(size=u.shape)
    assert here.model(noise).shape == here.gradient(noise).shape == (outputs, WIDTH)
    assert not here.model(noise)[:, 6:].any()
    assert not here.gradient(noise)[:, 6:].any()


def test_columns_without_curvature_stay_zero():
    p = np.diag([4.0, 0.0, 9.0])
    root = root_of(p)
    scaled = Scaled(np.array([0.5, 0.0, 1 / 3]), WIDTH)
    for here in (scaled, Whitened(root.lower, root.inverse, 3, WIDTH)):
        noise = np.random.default_rng(0).normal(size=(2, 3))
        full = np.concatenate([noise, np.zeros((2, 5))], axis=1)
        for there in (here.model(noise), here.gradient(noise), here.of_model(full), here.of_gradient(full)):
            assert np.isfinite(there).all()
            assert not there[:, 1].any()
            assert not there[:, 3:].any()
        kept = full * (np.arange(WIDTH) != 1)
        np.testing.assert_allclose(here.model(here.of_model(kept)), kept, rtol=1e-12)
        np.testing.assert_allclose(here.gradient(here.of_gradient(kept)), kept, rtol=1e-12)
        assert (here.of_model(kept) ** 2).sum() == pytest.approx(((kept[:, :3] ** 2) @ p.diagonal()).sum(), rel=1e-9)


# ---- what fits together


def opened(compress="none", memory="auto", algorithm="saga", downlink=False):
    job = Job(compress=parse_spec(compress), memory=memory, downlink=downlink)
    chosen = parse_spec(algorithm)
    made = Algorithm.make(chosen.name, chosen.fitted(Algorithm.known()))
    found = open_channel(job, objective("logistic", 0.0, 0.05, "dense", single()), made, single())
    return found[0], found[-1]


def test_a_job_gives_its_channel():
    channel, line = opened("quantised[levels=3]", downlink=True)
    assert channel.compressor == Quantised(levels=3)
    assert (channel.memory, channel.downlink) == ("error-feedback", True)
    assert line == ""  # one rank sends nothing
    assert opened("rand-k", "difference")[0].memory == "difference"
    plain, line = opened()
    assert (plain.compressor, line) == (None, "")
    assert opened(algorithm="lbfgs")[1] == ""


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (("top-k", "difference"), "--memory difference needs an unbiased compressor, one of bfloat16, .*; not top-k"),
        (("sign", "none"), "--memory none needs an unbiased compressor, one of .*quantised.*; not sign"),
        (("quantised", "auto", "lbfgs"), r"--compress quantised: lbfgs sends exact sums only; use one of .*saga"),
        (("quantised", "difference", "newton"), r"newton sends exact sums only; use one of .*saga"),
        (("quantised", "auto", "saga[exchange=overlap]"), "--exchange overlap sends exact sums only"),
        (("quantised", "diana"), "memory is one of none, difference, error-feedback, auto; not 'diana'"),
        (("none", "diana"), "memory is one of none, difference, error-feedback, auto; not 'diana'"),
        (("gzip",), "gzip"),
        (("quantised[level=3]",), "level"),
        (("rand-k[share=2]",), "rand-k: share must be above 0 and at most 1, not 2"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(job, message):
    with pytest.raises(ValueError, match=message) as error:
        opened(*job)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("levels", [1, 2, 7, 100])
@pytest.mark.parametrize("norm", ["max", "l2"])
@pytest.mark.parametrize("block", [0, 16, 128])
def test_quantised_shrunk_is_a_contraction_for_its_worst_vectors(levels, norm, block):
    """E‖s C(x) − x‖² = ((1 − s)² + s² ω) ‖x‖² < ‖x‖² with the ω of the worst."""
    compressor = Quantised(levels, norm, block)
    for d in (0, 1, 2, 3, 17, 128, 1000, 100_000):
        s, omega = compressor.shrink(d), compressor.variance(d)
        assert 0.0 < s <= 1.0
        assert (1.0 - s) ** 2 + s * s * omega < 1.0
        assert compressor.contraction(d) == pytest.approx(1.0 - (1.0 - s) ** 2 - s * s * omega, abs=1e-12)
        assert 0.0 < compressor.typical_contraction(d) <= 1.0


def test_models_are_averaged_by_their_rows_and_go_the_part_of_the_way_that_is_set():
    def main(comm):
        target = objective("logistic", 0.0, 0.05, "dense", comm)
        algorithm, channel = (
            Saga(preconditioner="diagonal"),
            Channel(comm, 3, Compressor.make("rand-k", {"share": 1.0})),
        )
        state = algorithm.init(target, channel)
        state.local += np.random.default_rng(comm.rank).normal(size=state.w.shape) * (np.arange(8) < 7)
        state.control.mix = 0.25
        away = comm.sum((state.local - state.w) * len(target.shard) / target.shard.total)
        before = state.w.copy()
        exchange.average_models(1, state, target, channel)
        np.testing.assert_allclose(state.w, before + 0.25 * away, atol=1e-6)
        assert state.local.tobytes() == state.w.tobytes()

    spmd(3, main)
