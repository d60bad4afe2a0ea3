"""A random rotation in d log d operations: random signs, then Hadamard matrices (Ailon, Chazelle 2009).

The Hadamard matrix of a power of two c <= 4096 acts on the windows [0, c), [c, 2c), …. If d is no multiple of c,
another one, with its own signs, then acts on the last c numbers, so that each number is mixed with at least d/2 or
2048 others. All of it is orthogonal, so d numbers stay d numbers; padding to a power of two could double them.
"""

from __future__ import annotations

import math

import numpy as np

from mpiopt.kernels.arrays import Scalar, Vector
from mpiopt.kernels.bits import float_of
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.random_words import key_of, word

LONGEST = 4096  # numbers of a window: what the first-level cache holds
_63, _ONE = np.uint64(63), np.uint64(1023 << 52)


@njit(cache=True, nogil=True, error_model="numpy")
def _eights(x: Vector, begin: int, c: int) -> None:
    """Do the stages of steps 1, 2 and 4."""
    for i in range(begin, begin + c, 8):
        a, b, p, q = x[i] + x[i + 1], x[i] - x[i + 1], x[i + 2] + x[i + 3], x[i + 2] - x[i + 3]
        e, f, u, v = x[i + 4] + x[i + 5], x[i + 4] - x[i + 5], x[i + 6] + x[i + 7], x[i + 6] - x[i + 7]
        a, b, p, q = a + p, b + q, a - p, b - q
        e, f, u, v = e + u, f + v, e - u, f - v
        x[i], x[i + 1], x[i + 2], x[i + 3] = a + e, b + f, p + u, q + v
        x[i + 4], x[i + 5], x[i + 6], x[i + 7] = a - e, b - f, p - u, q - v


@njit(cache=True, nogil=True, error_model="numpy")
def _twos(x: Vector, begin: int, c: int, h: int) -> None:
    """Do the stage of step h."""
    for i in range(begin, begin + c, 2 * h):
        for j in range(i, i + h):
            x[j], x[j + h] = x[j] + x[j + h], x[j] - x[j + h]


@njit(cache=True, nogil=True, error_model="numpy")
def _fours(x: Vector, begin: int, end: int, h: int) -> None:
    """Do the stages of steps h and 2 h."""
    for i in range(begin, end, 4 * h):
        a, b, c, d = x[i : i + h], x[i + h : i + 2 * h], x[i + 2 * h : i + 3 * h], x[i + 3 * h : i + 4 * h]
        for j in range(h):
            p, q, r, s = a[j] + b[j], a[j] - b[j], c[j] + d[j], c[j] - d[j]
            a[j], b[j], c[j], d[j] = p + r, q + s, p - r, q - s


@njit(cache=True, nogil=True, error_model="numpy")
def _butterflies(x: Vector, begin: int, c: int) -> None:
    """Multiply x[begin : begin + c] by the Hadamard matrix of ±1."""
    h = 1
    if c >= 8:
        _eights(x, begin, c)
        h = 8
    while h < c:
        if 4 * h <= c:
            _fours(x, begin, begin + c, h)
            h *= 4
        else:
            _twos(x, begin, c, h)
            h *= 2


@njit(cache=True, nogil=True, error_model="numpy")
def _signs(x: Vector, begin: int, c: int, key: Scalar, place: int, factor: float) -> None:
    """Multiply by ± factor; each word of the stream, from `place` on, holds the signs of 64 numbers."""
    for i in range(0, c, 64):
        bits = word(key, place + i // 64)
        part = x[begin + i : begin + min(i + 64, c)]
        for j in range(len(part)):
            part[j] *= factor * float_of(((bits >> np.uint64(j)) << _63) | _ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def _forth(x: Vector, c: int, seed: int) -> None:
    """Rotate x by windows of c numbers."""
    d, key, factor = len(x), key_of(seed), 1.0 / math.sqrt(np.float64(c))
    for begin in range(0, d - c + 1, c):
        _signs(x, begin, c, key, begin, factor)
        _butterflies(x, begin, c)
    if d % c:
        _signs(x, d - c, c, key, d, factor)
        _butterflies(x, d - c, c)


@njit(cache=True, nogil=True, error_model="numpy")
def _back(x: Vector, c: int, seed: int) -> None:
    """Undo `_forth`."""
    d, key, factor = len(x), key_of(seed), 1.0 / math.sqrt(np.float64(c))
    if d % c:
        _butterflies(x, d - c, c)
        _signs(x, d - c, c, key, d, factor)
    for begin in range(0, d - c + 1, c):
        _butterflies(x, begin, c)
        _signs(x, begin, c, key, begin, factor)


def window(d: int) -> int:
    """Return the largest power of two up to d and LONGEST."""
    return min(LONGEST, 1 << (d.bit_length() - 1))


def rotate(x: Vector, seed: int) -> None:
    """Rotate x (d,) in place."""
    if x.size:
        _forth(x, window(x.size), seed)


def rotate_back(x: Vector, seed: int) -> None:
    """Undo `rotate`."""
    if x.size:
        _back(x, window(x.size), seed)
