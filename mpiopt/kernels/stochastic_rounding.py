"""Rounding up or down at random, so that the mean is the number: to levels, powers of two, short floats.

Every kernel takes a vector x (d,) with two factors a and b, powers of two whose product brings the largest |x_i| into
[1, 2): two, since 2¹⁰⁷⁴ is no float64. The i-th number is rounded by the i-th word of the seed's stream. The inverse
kernels take the factors of the inverse product.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.arrays import Bytes, Scalar, Symbols, Values, Vector
from mpiopt.kernels.bits import bits_of, float_of
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.random_words import key_of, uniform, word

MAX, EUCLID = 0, 1  # norms of a block
_1, _12, _52, _63 = np.uint64(1), np.uint64(12), np.uint64(52), np.uint64(63)
_TWO = np.uint64(1024)  # the exponent field of 2.0
_MAGNITUDE = np.uint64((1 << 63) - 1)


def largest_exponent(x: Vector) -> int:
    """Return k with 2ᵏ <= max |x_i| < 2ᵏ⁺¹; 0 if all are 0."""
    largest = _largest(x)
    return math.frexp(largest)[1] - 1 if largest > 0.0 else 0


def scale_factors(k: int) -> tuple[float, float]:
    """Return two numbers whose product is 2ᵏ, |k| <= 2000."""
    return math.ldexp(1.0, k // 2), math.ldexp(1.0, k - k // 2)


@njit(cache=True, nogil=True, error_model="numpy")
def _largest(x: Vector) -> float:
    """Return the largest magnitude."""
    top = np.int64(0)
    for i in range(len(x)):
        top = max(top, np.int64(bits_of(x[i]) & _MAGNITUDE))  # the bits are in the order of the magnitudes
    return float(float_of(np.uint64(top)))


@njit(cache=True, nogil=True, error_model="numpy")
def _euclid(x: Vector, a: float, b: float, begin: int, end: int) -> float:
    """Compute the 2-norm of a block, in four sums: the same bits on every machine."""
    whole = begin + (end - begin) // 4 * 4
    s0 = s1 = s2 = s3 = 0.0
    for i in range(begin, whole, 4):
        x0, x1, x2, x3 = x[i] * a * b, x[i + 1] * a * b, x[i + 2] * a * b, x[i + 3] * a * b
        s0 += x0 * x0
        s1 += x1 * x1
        s2 += x2 * x2
        s3 += x3 * x3
    for i in range(whole, end):
        s0 += x[i] * a * b * (x[i] * a * b)
    return math.sqrt((s0 + s2) + (s1 + s3))


@njit(cache=True, nogil=True, error_model="numpy")
def norms(x: Vector, a: float, b: float, block: int, norm: int, out: Vector) -> None:
    """Write the norms (MAX or EUCLID) of the blocks of `block` numbers of a b x to `out` (⌈d/block⌉,)."""
    for k in range(len(out)):
        begin, end = k * block, min((k + 1) * block, len(x))
        out[k] = _euclid(x, a, b, begin, end) if norm == EUCLID else _largest(x[begin:end]) * a * b


@njit(cache=True, nogil=True, error_model="numpy")
def _levels(x: Vector, a: float, b: float, up: float, levels: float, key: Scalar, place: int, out: Symbols) -> None:
    """Quantise one block, whose random words begin at `place`."""
    top = 2.0 * levels
    for i in range(len(x)):
        level = levels + x[i] * a * b * up + uniform(key, place + i)  # at least 0, but the rounded sum may be 2s + 1
        out[i] = np.int32(level if level < top else top)


@njit(cache=True, nogil=True, error_model="numpy")
def quantise(x: Vector, a: float, b: float, block: int, scales: Values, levels: int, seed: int, out: Symbols) -> None:
    """Write levels + ⌊levels a b x_i / scale + u_i⌋, an integer in [0, 2 levels], to out[i].

    Parameters
    ----------
    x : ndarray, shape (d,)
        The vector.
    a, b : float
        Factors of the scale.
    block : int
        Numbers of a block.
    scales : ndarray of float32, shape (⌈d/block⌉,)
        At least the norms of the blocks of a b x.
    levels : int
        Levels on each side of 0.
    seed : int
        The draw.
    out : ndarray of uint8 or uint32, shape (d,)
        Written.
    """
    key = key_of(seed)
    for k in range(len(scales)):
        begin, end = k * block, min((k + 1) * block, len(x))
        up = levels / np.float64(scales[k]) if scales[k] > 0 else 0.0
        _levels(x[begin:end], a, b, up, np.float64(levels), key, begin, out[begin:end])


@njit(cache=True, nogil=True, error_model="numpy")
def dequantise(symbols: Symbols, a: float, b: float, block: int, scales: Values, levels: int, out: Vector) -> None:
    """Undo `quantise` except for the rounding."""
    for k in range(len(scales)):
        begin, end = k * block, min((k + 1) * block, len(out))
        step, source, target = np.float64(scales[k]) / levels, symbols[begin:end], out[begin:end]
        for i in range(len(target)):
            target[i] = (np.float64(np.int32(source[i])) - levels) * step * a * b


@njit(cache=True, nogil=True, error_model="numpy")
def to_powers(x: Vector, a: float, b: float, bits: int, seed: int, out: Bytes) -> None:
    """Write x_i rounded to 0 or ± one of L = 2^(bits - 1) - 1 powers of two up to 2 to out[i].

    The symbol is 0, or c in 1 … L for 2^(c + 1 - L), with the sign in front of it.
    """
    key, sign = key_of(seed), np.uint64(bits - 1)
    below = _TWO - np.uint64((1 << (bits - 1)) - 1)  # the exponent field of the power below the least
    inverse = 1.0 / float_of((below + _1) << _52)
    for i in range(len(x)):
        y = x[i] * a * b
        magnitude, chance = bits_of(y) & _MAGNITUDE, word(key, i) >> _12
        small = float_of(magnitude) * inverse
        rounded = (magnitude + chance) >> _52  # the carry has the probability of the mantissa
        u = float_of(chance | (np.uint64(1023) << _52)) - 1.0
        code = rounded - below if small >= 1.0 else np.uint64(u < small)
        out[i] = code | ((bits_of(y) >> _63) << sign)


@njit(cache=True, nogil=True, error_model="numpy")
def from_powers(symbols: Bytes, a: float, b: float, bits: int, out: Vector) -> None:
    """Undo `to_powers` except for the rounding."""
    sign, mask = np.uint64(bits - 1), np.uint64((1 << (bits - 1)) - 1)
    below = _TWO - mask
    for i in range(len(out)):
        symbol = np.uint64(symbols[i])
        code = symbol & mask
        field = code + below if code > 0 else np.uint64(0)
        out[i] = float_of((field << _52) | ((symbol >> sign) << _63)) * a * b


@njit(cache=True, nogil=True, error_model="numpy")
def to_short(x: Vector, a: float, b: float, mantissa: int, one: int, seed: int, out: Symbols) -> None:
    """Round x_i to a float of 16 bits with `mantissa` bits, in which 1.0 has the exponent field `one`.

    Fields from 1 on are normal; 0 stands for multiples of the least step, as in IEEE 754.
    """
    key, drop = key_of(seed), np.uint64(52 - mantissa)
    shift = np.uint64((1023 - one) << mantissa)
    least = float_of(np.uint64(1024 - one) << _52)
    steps = float_of(np.uint64(1023 + one - 1 + mantissa) << _52)
    for i in range(len(x)):
        y = x[i] * a * b
        magnitude, chance = bits_of(y) & _MAGNITUDE, word(key, i) >> _12
        size = float_of(magnitude)
        u = float_of(chance | (np.uint64(1023) << _52)) - 1.0
        normal = ((magnitude + (chance >> (_52 - drop))) >> drop) - shift
        code = normal if size >= least else np.uint64(np.int64(size * steps + u))
        out[i] = code | ((bits_of(y) >> _63) << np.uint64(15))


@njit(cache=True, nogil=True, error_model="numpy")
def from_short(symbols: Symbols, a: float, b: float, mantissa: int, one: int, out: Vector) -> None:
    """Undo `to_short` except for the rounding."""
    drop = np.uint64(52 - mantissa)
    shift = np.uint64((1023 - one) << mantissa)
    first = np.uint64(1 << mantissa)
    step = float_of(np.uint64(1024 - one - mantissa) << _52)
    for i in range(len(out)):
        symbol = np.uint64(symbols[i])
        code = symbol & np.uint64(0x7FFF)
        size = float_of((code + shift) << drop) if code >= first else np.float64(np.int64(code)) * step
        out[i] = (size if symbol < np.uint64(0x8000) else -size) * a * b


@njit(cache=True, nogil=True, error_model="numpy")
def magnitudes(x: Vector, a: float, b: float) -> float:
    """Compute Σ |a b x_i|, in 64 sums for long x: the same bits on every machine."""
    sums, whole = np.zeros(64), len(x) // 64 * 64
    for i in range(0, whole, 64):
        part = x[i : i + 64]
        for j in range(64):
            sums[j] += abs(part[j] * a * b)
    total = 0.0
    for j in range(64):
        total += sums[j]
    for i in range(whole, len(x)):
        total += abs(x[i] * a * b)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def signed(negative: Bytes, size: float, out: Vector) -> None:
    """Write `size` to `out`, with a minus where `negative` is 1."""
    for i in range(len(out)):
        out[i] = size - 2.0 * size * negative[i]


@njit(cache=True, nogil=True, error_model="numpy")
def random_where_zero(x: Vector, seed: int, negative: NDArray[np.bool_]) -> None:
    """Write a random bit where x_i = 0."""
    key = key_of(seed)
    for i in range(len(x)):
        if x[i] == 0.0:
            negative[i] = word(key, i) & _1
