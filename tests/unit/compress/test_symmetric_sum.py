"""Sums of curvature matrices in 16 or 32 bits are close enough for a preconditioner, and exact in special cases."""

import math

import numpy as np
import pytest

from mpiopt.algorithms.preconditioner import root_of
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.compress.symmetric_sum import (
    LARGEST_ERROR,
    curvature_sum,
    error_norm,
    from_lower_triangle,
    lower_triangle,
    symmetric_sum,
)


def shares(size, d, condition, seed=0):
    """Return positive semi-definite shares of one matrix with this condition number, in very different units."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 4 * d, d)) @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    x = x @ np.diag(np.geomspace(1.0, condition**-0.5, d)) @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    x *= np.geomspace(1e-3, 1e3, d)
    return [a.T @ a for a in x]


def summed(size, parts, extra=None, compressor="quantised"):
    def main(comm):
        channel = Channel(comm, 0, Compressor.make(compressor))
        mine = parts[comm.rank].copy()
        total = curvature_sum(mine, np.zeros_like(mine) if extra is None else extra, channel)
        assert mine.tobytes() == parts[comm.rank].tobytes()
        return total, channel.traffic.bytes_sent

    found = spmd(size, main)
    assert len({w.tobytes() for w, _ in found}) == 1
    return found[0]


def relative_error(total, exact):
    """Return ‖P^{-1/2} E P^{-1/2}‖, P the exact sum."""
    root = root_of(exact).inverse
    return float(np.linalg.norm(root @ (total - exact) @ root.T, 2))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize(("condition", "bits"), [(1.0, 16), (1e3, 16), (1e8, 32)])
def test_16_bits_are_sent_and_32_if_the_condition_asks_for_them(size, condition, bits):
    d = 12
    parts = shares(size, d, condition)
    total, sent = summed(size, parts)
    exact = sum(parts)
    assert (total == total.T).all()
    np.testing.assert_allclose(total.diagonal(), exact.diagonal(), rtol=1e-13)
    sigma = math.sqrt(size / 12) / 32000 * (1.0 if bits == 16 else size / 64000)
    assert relative_error(total, exact) <= 1.5 * error_norm(exact, sigma) <= 1.5 * LARGEST_ERROR
    assert relative_error(total, exact) > 0.02 * error_norm(exact, sigma)  # the estimate is not far above
    words = d * (d + 1) // 2 * 2
    assert sent == (size - 1) * (8 * d + 8 + words * bits // 16)


def test_with_a_ridge_16_bits_are_enough():
    parts = shares(3, 12, 1e8)
    extra = np.diag(sum(parts).diagonal()) * 0.01
    assert summed(3, parts, extra)[1] < summed(3, parts)[1]
    assert relative_error(summed(3, parts, extra)[0] + extra, sum(parts) + extra) <= LARGEST_ERROR


def test_sums_are_exact_if_integers_cannot_hold_them():
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
    assert relative_error(found + np.diag([0, 0, 1.0, 0]), sum(empty) + np.diag([0, 0, 1.0, 0])) < LARGEST_ERROR


def test_a_rank_without_rows_adds_nothing():
    parts = [*shares(2, 6, 10.0), np.zeros((6, 6))]
    assert relative_error(summed(3, parts)[0], sum(parts)) < LARGEST_ERROR


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_lower_triangle_is_enough(d):
    a = np.random.default_rng(d).normal(size=(d, d))
    a += a.T
    assert lower_triangle(a).size == d * (d + 1) // 2
    assert from_lower_triangle(lower_triangle(a)).tobytes() == a.tobytes()
    assert (spmd(3, lambda c: symmetric_sum(a, Channel(c)))[0] == 3 * a).all() or d > 1
    np.testing.assert_allclose(spmd(3, lambda c: symmetric_sum(a, Channel(c)))[0], 3 * a)


def test_the_error_norm_is_infinite_unless_the_matrix_is_positive_definite():
    assert error_norm(np.array([[1.0, 2.0], [2.0, 1.0]]), 1e-3) == math.inf
    assert error_norm(np.diag([1.0, 4.0, 0.0]), 1e-3) == pytest.approx(2e-3 * math.sqrt(2))
