"""Quantiles of the numbers of all ranks, exact: a search over the bits of the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.data.shard import Vector

TOP = np.uint64(1 << 63)
BITS = 64


def quantiles(columns: Sequence[Vector], at: Sequence[float], comm: Comm) -> NDArray[np.float64]:
    """Return quantiles of columns, (columns, at), interpolated as numpy does; NaN for a column without numbers.

    Collective; each rank gives its own numbers of each column, without NaN.
    """
    sorted_keys = [np.sort(_keys(column)) for column in columns]
    totals = comm.sum(np.array([len(keys) for keys in sorted_keys], np.int64))
    wanted = (np.maximum(totals, 1) - 1)[:, None] * np.asarray(at)[None, :]
    low, high = (_smallest(sorted_keys, f(wanted).astype(np.int64), comm) for f in (np.floor, np.ceil))
    share = wanted - np.floor(wanted)
    found = low + (high - low) * share
    return np.where(totals[:, None] > 0, found, np.nan)


def _keys(x: Vector) -> NDArray[np.uint64]:
    """Return numbers as integers in the same order."""
    bits = (np.asarray(x, np.float64) + 0.0).view(np.uint64)
    return np.where(bits & TOP, ~bits, bits | TOP)


def _smallest(columns: Sequence[NDArray[np.uint64]], ranks: NDArray[np.int64], comm: Comm) -> NDArray[np.float64]:
    """Return for each column the numbers that `ranks` others, (columns, at), are not above; collective."""
    found = np.zeros(ranks.shape, np.uint64)
    for bit in range(BITS - 1, -1, -1):
        trial = found | np.uint64(1 << bit)
        below = [np.searchsorted(keys, row, side="left") for keys, row in zip(columns, trial, strict=True)]
        counts = comm.sum(np.asarray(below, np.int64).reshape(ranks.shape))
        found = np.where(counts <= ranks, trial, found)
    return np.where(found & TOP, found ^ TOP, ~found).view(np.float64)
