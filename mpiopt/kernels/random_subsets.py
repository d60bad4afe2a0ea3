"""Random subsets of 0 … d - 1 as a function of a seed: exactly k numbers, or each with a given probability."""

from __future__ import annotations

import numpy as np

from mpiopt.kernels.arrays import Integers, Scalar, Vector, Words
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.random_words import below, key_of, uniform

_ONE, _LOW = np.uint64(1), 63


@njit(cache=True, nogil=True, error_model="numpy")
def _mark(marks: Words, place: int) -> bool:
    """Set the bit of an index; return whether it was set before."""
    bit = _ONE << np.uint64(place & _LOW)
    before = marks[place >> 6]
    marks[place >> 6] = before | bit
    return bool(before & bit)


@njit(cache=True, nogil=True, error_model="numpy")
def floyd(d: int, seed: Scalar, marks: Words, out: Integers) -> None:
    """Write a uniform subset of len(out) indices to `out`, in no order (Bentley, Floyd 1987).

    `marks` ((d + 63) // 64,) holds zeros before and after.
    """
    key, k = key_of(seed), len(out)
    for i in range(k):
        last = d - k + i
        place = below(key, i, last + 1)
        if _mark(marks, place):
            place = last
            _mark(marks, place)
        out[i] = place
    for i in range(k):
        marks[out[i] >> 6] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def count_drawn(d: int, seed: Scalar, share: float) -> int:
    """Count how many of d indices are drawn with probability `share` each."""
    key, n = key_of(seed), 0
    for i in range(d):
        n += uniform(key, i) < share
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def gather(x: Vector, seed: Scalar, share: float, out: Vector) -> None:
    """Write the drawn numbers of x (d,) to `out` in increasing order; `out` has one number more than are drawn."""
    key, n = key_of(seed), 0
    for i in range(len(x)):
        out[n] = x[i]  # overwritten unless it was drawn
        n += uniform(key, i) < share


@njit(cache=True, nogil=True, error_model="numpy")
def scatter(values: Vector, seed: Scalar, share: float, out: Vector) -> None:
    """Write values/share to the drawn indices of `out` (d,), 0 elsewhere."""
    key, n = key_of(seed), 0
    for i in range(len(out)):
        if uniform(key, i) < share:
            out[i] = values[n] / share
            n += 1
        else:
            out[i] = 0.0


def draw_subset(k: int, d: int, seed: int) -> Integers:
    """Return k of d indices; every subset is equally likely."""
    out = np.empty(k, np.int64)
    floyd(d, seed, np.zeros((d + 63) // 64, np.uint64), out)
    return out
