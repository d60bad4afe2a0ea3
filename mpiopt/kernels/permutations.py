"""Orders in which rows are visited: splitmix64 (Steele, Lea, Flood 2014), bounded by multiplication (Lemire 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Starts = NDArray[np.int64]


@njit(inline="always")
def _splitmix(state: Any) -> Any:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@njit(inline="always")
def _below(word: Any, bound: Any) -> Any:
    # 32 bits times the bound: the bias is below bound / 2**32.
    return np.int64(((word >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@njit(cache=True, nogil=True)
def _shuffle(x: Any, seed: Any) -> None:
    state = np.uint64(seed)
    for i in range(len(x) - 1, 0, -1):
        state, word = _splitmix(state)
        j = _below(word, i + 1)
        x[i], x[j] = x[j], x[i]


@njit(cache=True, nogil=True)
def _draw(x: Any, bound: int, seed: Any) -> None:
    state = np.uint64(seed)
    for i in range(len(x)):
        state, word = _splitmix(state)
        x[i] = _below(word, bound)


def shuffled(n: int, batch: int, seed: int) -> Starts:
    """Give the first rows 0, batch, 2 batch, … of the blocks of n < 2³² rows in random order, shape (⌈n/batch⌉,)."""
    starts = np.arange(0, n, batch)
    _shuffle(starts, seed)
    return starts


def drawn(n: int, batch: int, count: int, seed: int) -> Starts:
    """Give the first rows of `count` blocks drawn uniformly with replacement; of single rows with batch = 1."""
    starts = np.zeros(count, np.int64)
    _draw(starts, -(-n // batch), seed)
    starts *= batch
    return starts
