"""A random rotation in d log d operations: random signs, then Hadamard matrices (Ailon, Chazelle 2009).

The Hadamard matrix of a power of two c <= 4096 acts on the windows [0, c), [c, 2c), …; where d is no multiple of c,
another one, with signs of its own, then acts on the last c places, so that each number is mixed with at least d/2 or
2048 others. All of it is orthogonal, so d numbers stay d numbers, which padding to a power of two would up to double.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mpiopt.kernels.words import float_of, key_of, word

LONGEST = 4096  # numbers of a window: what the first-level cache holds
_63, _ONE = np.uint64(63), np.uint64(1023 << 52)


@njit(cache=True, nogil=True, error_model="numpy")
def _butterflies(x: Any, begin: int, c: int) -> None:
    """Multiply x[begin : begin + c] by the Hadamard matrix of ±1, two stages at a time."""
    h = 1
    if c & 0xAAAAAAAAAAAA:  # an odd number of stages
        for i in range(begin, begin + c, 2):
            x[i], x[i + 1] = x[i] + x[i + 1], x[i] - x[i + 1]
        h = 2
    while h < c:
        for i in range(begin, begin + c, 4 * h):
            for j in range(i, i + h):
                p, q, r, s = x[j], x[j + h], x[j + 2 * h], x[j + 3 * h]
                x[j], x[j + h] = (p + q) + (r + s), (p - q) + (r - s)
                x[j + 2 * h], x[j + 3 * h] = (p + q) - (r + s), (p - q) - (r - s)
        h *= 4


@njit(cache=True, nogil=True, error_model="numpy")
def _signs(x: Any, begin: int, c: int, key: Any, place: int, factor: float) -> None:
    for i in range(c):
        x[begin + i] *= factor * float_of((word(key, place + i) >> _63 << _63) | _ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def _forth(x: Any, c: int, seed: int) -> None:
    d, key, factor = len(x), key_of(seed), 1.0 / math.sqrt(np.float64(c))
    for begin in range(0, d - c + 1, c):
        _signs(x, begin, c, key, begin, factor)
        _butterflies(x, begin, c)
    if d % c:
        _signs(x, d - c, c, key, d, factor)
        _butterflies(x, d - c, c)


@njit(cache=True, nogil=True, error_model="numpy")
def _back(x: Any, c: int, seed: int) -> None:
    d, key, factor = len(x), key_of(seed), 1.0 / math.sqrt(np.float64(c))
    if d % c:
        _butterflies(x, d - c, c)
        _signs(x, d - c, c, key, d, factor)
    for begin in range(0, d - c + 1, c):
        _butterflies(x, begin, c)
        _signs(x, begin, c, key, begin, factor)


def window(d: int) -> int:
    """Give the largest power of two up to d and LONGEST."""
    return min(LONGEST, 1 << (d.bit_length() - 1))


def rotate(x: NDArray[np.float64], seed: int) -> None:
    """Rotate x in place."""
    if x.size:
        _forth(x, window(x.size), seed)


def rotate_back(x: NDArray[np.float64], seed: int) -> None:
    """Undo `rotate`."""
    if x.size:
        _back(x, window(x.size), seed)
