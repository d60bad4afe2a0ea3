"""Random subsets of 0 … d - 1 as a function of a seed: exactly k of them, or each with a probability of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mpiopt.kernels.random_words import below, key_of, uniform

Places = NDArray[np.int64]
_ONE, _LOW = np.uint64(1), 63


@njit(cache=True, nogil=True, error_model="numpy")
def _mark(marks: Any, place: int) -> bool:
    """Mark a place; say whether it was marked before."""
    bit = _ONE << np.uint64(place & _LOW)
    before = marks[place >> 6]
    marks[place >> 6] = before | bit
    return bool(before & bit)


@njit(cache=True, nogil=True, error_model="numpy")
def floyd(d: int, seed: Any, marks: Any, out: Any) -> None:
    """Put a uniform subset of len(out) places into `out`, in no order (Bentley, Floyd 1987).

    `marks` holds (d + 63) // 64 zeros before and after.
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
def count_drawn(d: int, seed: Any, share: float) -> int:
    """Give how many of d places are drawn with probability `share` each."""
    key, n = key_of(seed), 0
    for i in range(d):
        n += uniform(key, i) < share
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def gather(x: Any, seed: Any, share: float, out: Any) -> None:
    """Put the numbers at the drawn places into `out`, which has one more, in rising order."""
    key, n = key_of(seed), 0
    for i in range(len(x)):
        out[n] = x[i]  # written over unless it was drawn
        n += uniform(key, i) < share


@njit(cache=True, nogil=True, error_model="numpy")
def scatter(values: Any, seed: Any, share: float, out: Any) -> None:
    """Put values/share to the drawn places, 0 elsewhere."""
    key, n = key_of(seed), 0
    for i in range(len(out)):
        if uniform(key, i) < share:
            out[i] = values[n] / share
            n += 1
        else:
            out[i] = 0.0


def draw_subset(k: int, d: int, seed: int) -> Places:
    """Give k of d places; every subset is as likely as any other."""
    out = np.empty(k, np.int64)
    floyd(d, seed, np.zeros((d + 63) // 64, np.uint64), out)
    return out
