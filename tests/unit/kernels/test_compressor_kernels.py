"""Kernels of the compressors: packed bits, subsets, rotations, the largest magnitudes, scale factors."""

import math
from itertools import combinations

import numpy as np
import pytest

from mpiopt.kernels import bitpack, haar, hadamard, random_subsets, stochastic_rounding, top_k

rng = np.random.default_rng(6)


@pytest.mark.parametrize("width", range(1, 33))
def test_symbols_of_any_width_come_back_from_the_documented_stream(width):
    for n in (0, 1, 7, 8, 9, 64, 203):
        symbols = rng.integers(0, 1 << width, n).astype(bitpack.symbol_type(width))
        coded = bitpack.pack(symbols, width)
        number = sum(int(s) << (i * width) for i, s in enumerate(symbols))
        assert coded.tobytes() == number.to_bytes(bitpack.packed_bytes(n, width), "little")
        assert (bitpack.unpack(coded, n, width) == symbols).all()


@pytest.mark.parametrize("n", [0, 1, 4, 5, 6, 99])
def test_five_symbols_of_three_in_a_byte(n):
    symbols = rng.integers(0, 3, n).astype(np.uint8)
    coded = bitpack.pack_threes(symbols)
    assert coded.size == -(-n // 5)
    assert all(coded[i // 5] // 3 ** (i % 5) % 3 == symbols[i] for i in range(n))
    assert (bitpack.unpack_threes(coded, n) == symbols).all()


@pytest.mark.parametrize(("d", "k"), [(6, 3), (5, 1), (5, 4), (4, 4)])
def test_every_subset_is_equally_likely(d, k):
    n = 6000
    counts = dict.fromkeys(combinations(range(d), k), 0)
    for seed in range(n):
        counts[tuple(sorted(random_subsets.draw_subset(k, d, seed).tolist()))] += 1
    expected = n / len(counts)
    chi = sum((c - expected) ** 2 / expected for c in counts.values())
    assert chi < len(counts) - 1 + 5 * math.sqrt(2 * len(counts))


def test_large_subsets_have_no_index_twice_and_are_spread_evenly():
    indices = random_subsets.draw_subset(5000, 100_000, 3)
    assert len(set(indices.tolist())) == 5000
    assert indices.min() >= 0
    counts = np.histogram(indices, 20, (0, 100_000))[0]
    assert ((counts - 250) ** 2 / 250).sum() < 19 + 5 * math.sqrt(38)
    assert sorted(random_subsets.draw_subset(70, 70, 9)) == list(range(70))


@pytest.mark.parametrize("d", [1, 2, 3, 8, 63, 64, 100, 4095, 4096, 4097, 9000])
def test_the_fast_rotation_is_orthogonal_and_mixes(d):
    x, one = rng.standard_normal(d), np.zeros(d)
    one[-1] = 1.0
    y, z = x.copy(), one.copy()
    hadamard.rotate(y, 5)
    hadamard.rotate(z, 5)
    assert y @ y == pytest.approx(x @ x)
    assert y @ z == pytest.approx(x @ one, abs=1e-12 * d)
    assert np.abs(z).max() <= 2 / math.sqrt(hadamard.window(d))
    hadamard.rotate_back(y, 5)
    np.testing.assert_allclose(y, x, atol=1e-13)


def test_the_fast_rotation_is_signs_times_the_hadamard_matrix():
    h = np.array([[1.0]])
    for _ in range(7):
        h = np.block([[h, h], [h, -h]])
    x = np.eye(128)
    turned = np.array([row for row in x])
    for row in turned:
        hadamard.rotate(row, 1)
    signs = turned[:, 0] * math.sqrt(128)
    np.testing.assert_allclose(turned, signs[:, None] * h / math.sqrt(128), atol=1e-15)
    assert 40 < (signs < 0).sum() < 88


def test_reflections_have_the_haar_measure():
    """Moments of entries: E u² = 1/d, E u⁴ = 3/(d (d + 2)), E u₁₁ u₂₂ u₁₂ u₂₁ = -1/(d (d - 1) (d + 2))."""
    d, n = 5, 8000
    u, v = np.empty((n, d, d)), np.empty((d, d))
    for seed in range(n):
        haar.reflections(seed, v)
        for i in range(d):
            u[seed, i] = np.eye(d)[i]
            haar.rotate(v, u[seed, i])
    np.testing.assert_allclose(u @ u.transpose(0, 2, 1), np.broadcast_to(np.eye(d), u.shape), atol=1e-13)

    def check(products, wanted):
        spread = 5 * products.std(axis=0) / math.sqrt(n)
        assert (np.abs(products.mean(axis=0) - wanted) <= spread).all()

    check(u, 0.0)
    check(u**2, 1 / d)
    check(u**4, 3 / (d * (d + 2)))
    check(u[:, 0, 0] * u[:, 1, 1] * u[:, 0, 1] * u[:, 1, 0], -1 / (d * (d - 1) * (d + 2)))
    check(u[:, 0, 0] * u[:, 1, 1] * u[:, 2, 2], 0.0)  # signs


def test_some_of_the_reflections_keep_norms_and_are_undone():
    v, x = np.empty((3, 8)), rng.standard_normal(8)
    haar.reflections(4, v)
    y = x.copy()
    haar.rotate(v, y)
    assert y @ y == pytest.approx(x @ x)
    haar.rotate_back(v, y)
    np.testing.assert_allclose(y, x, atol=1e-14)


@pytest.mark.parametrize("d", [1, 2, 100, 513, 5000, 40_000])
@pytest.mark.parametrize("kind", ["random", "ties", "rising", "first", "periodic", "zero"])
def test_the_largest_are_those_of_a_sort(d, kind):
    i = np.arange(d)
    x = {
        "random": rng.standard_normal(d),
        "ties": rng.integers(-3, 4, d).astype(float),
        "rising": i - d / 3,
        "first": np.where(i < d // 50, 1e9, 1.0) * rng.standard_normal(d),
        "periodic": np.where(i % 8 == 0, 1e-3, 1.0) * rng.standard_normal(d),  # the sample contains only small ones
        "zero": np.zeros(d),
    }[kind]
    for k in {0, 1, d // 100, d // 10, d // 2, d}:
        wanted = np.sort(np.argsort(-np.abs(x), kind="stable")[:k])
        assert (top_k.largest_magnitudes(x, k) == wanted).all()


@pytest.mark.parametrize("d", [1, 2, 7, 64, 1000, 100_000])
def test_increasing_integers_come_back_from_their_code(d):
    own = np.random.default_rng(d)  # the draws do not depend on which tests ran before
    for k in sorted({1, d // 50, d // 3, d}):
        indices = np.sort(own.choice(d, k, replace=False))
        coded = top_k.encode_increasing(indices, d)
        assert coded.size == top_k.increasing_bytes(k, d)
        assert 8 * coded.size <= k * (2 + max(0.0, math.log2(d / max(k, 1)))) + 16
        assert (top_k.decode_increasing(coded, k, d) == indices).all()
        if k:
            coded[-1] ^= 255
            found = top_k.decode_increasing(coded, k, d)
            assert found is None or d == 1 or (found != indices).any()


@pytest.mark.parametrize("size", [1.0, 5e-324, 1e-310, 1.7e308])
def test_factors_bring_the_largest_between_1_and_2(size):
    x = size * np.array([0.1, -1.0, 0.3])
    k = stochastic_rounding.largest_exponent(x)
    a, b = stochastic_rounding.scale_factors(-k)
    assert 1 <= np.abs(x * a * b).max() < 2
    a, b = stochastic_rounding.scale_factors(k)
    assert np.abs(np.float64(1.0) * a * b) <= size
    assert stochastic_rounding.largest_exponent(np.zeros(3)) == stochastic_rounding.largest_exponent(np.empty(0)) == 0
