"""Orders in which blocks of rows are visited: splitmix64 (Steele, Lea, Flood 2014), bounded as Lemire (2019) does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.arrays import Integers, Scalar
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.random_words import mixed

Starts = NDArray[np.int64]

MIXED = 64  # stretches whose blocks are visited together: 16 MB of rows
_STEP = np.uint64(0x9E3779B97F4A7C15)


@njit(inline="always")
def _splitmix(state: Any) -> Any:
    """Return the next state and the next random word."""
    state = state + _STEP
    return state, mixed(state)


@njit(inline="always")
def _below(word: Scalar, bound: Scalar) -> Any:
    """Return an integer in [0, bound) from a random word."""
    # 32 bits times the bound: the bias is below bound / 2**32.
    return np.int64(((word >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@njit(cache=True, nogil=True)
def _shuffle(x: Integers, seed: Scalar) -> None:
    """Permute x in place (Fisher, Yates)."""
    state = np.uint64(seed)
    for i in range(len(x) - 1, 0, -1):
        state, word = _splitmix(state)
        j = _below(word, i + 1)
        x[i], x[j] = x[j], x[i]


@njit(cache=True, nogil=True)
def _draw(x: Integers, bound: int, seed: Scalar) -> None:
    """Fill x with integers in [0, bound)."""
    state = np.uint64(seed)
    for i in range(len(x)):
        state, word = _splitmix(state)
        x[i] = _below(word, bound)


def shuffled(n: int, batch: int, seed: int) -> Starts:
    """Return the first rows of all blocks in random order.

    Parameters
    ----------
    n : int
        Number of rows, below 2³².
    batch : int
        Rows of a block; the last block may be shorter.
    seed : int
        The draw.

    Returns
    -------
    ndarray of int64, shape (⌈n/batch⌉,)
        A permutation of 0, batch, 2 batch, ….
    """
    starts = np.arange(0, n, batch)
    _shuffle(starts, seed)
    return starts


def in_stretches(n: int, batch: int, stretch: int, seed: int) -> Starts:
    """Return the first rows of all blocks, so that blocks near in time are near in the rows.

    Stretches of `stretch` neighbouring blocks come in random order, and the blocks of each `MIXED` of them in random
    order among themselves. Rows that lie on a disk are read in pieces of a stretch.
    """
    stretches = shuffled(-(-n // batch), stretch, seed)
    found = []
    for k in range(0, len(stretches), MIXED):
        blocks = (stretches[k : k + MIXED, None] + np.arange(stretch)).reshape(-1) * batch
        blocks = blocks[blocks < n]
        _shuffle(blocks, seed + k + 1)
        found.append(blocks)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def drawn(n: int, batch: int, count: int, seed: int) -> Starts:
    """Return the first rows of `count` blocks drawn uniformly with replacement; arguments as of `shuffled`."""
    starts = np.zeros(count, np.int64)
    _draw(starts, -(-n // batch), seed)
    starts *= batch
    return starts
