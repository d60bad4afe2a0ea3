"""The sequence of all rows: from a row's number in the file to its position, for any number of ranks.

`shuffled`, `contiguous` and `round-robin` are computed point by point; `sorted-by-label` is a sample sort.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.core.rng import seed_of
from mpiopt.data.shard import Vector
from mpiopt.kernels.row_moves import feistel, hashes

Numbers = NDArray[np.int64]
Order = Callable[[Numbers], Numbers]
_SHUFFLE, _HOLDOUT = 101, 102  # streams of randomness


def shuffled(total: int, seed: int) -> Order:
    """Give a pseudo-random bijection of 0 … total-1, the same for the same seed."""
    key = seed_of(seed, _SHUFFLE, 0, 0)
    return lambda numbers: np.asarray(feistel(numbers, total, key))


def contiguous(numbers: Numbers) -> Numbers:
    """Keep the order of the file."""
    return numbers


def round_robin(total: int) -> Order:
    """Deal rows evenly to any number of ranks: position = number · g mod total, with g / total near the golden ratio.

    By the three-gap theorem every rank gets its share of every stretch of the file, within a few rows, however many
    ranks there are; a deal by number modulo ranks would make the sequence depend on them.
    """
    g = max(1, round(total * (math.sqrt(5) - 1) / 2))
    while math.gcd(g, total) > 1:
        g += 1
    return lambda numbers: numbers * g % max(total, 1)


def by_label(label: Vector, numbers: Numbers, comm: Comm) -> Order:
    """Sort by label, equal labels in the order of the file; `numbers` ascend. Collective."""
    positions = sort(label, numbers, comm)
    return lambda asked: positions[np.searchsorted(numbers, asked)]


def sort(key: Vector, numbers: Numbers, comm: Comm) -> Numbers:
    """Give each (key, number), all pairs distinct, its position among those of all ranks: a sample sort.

    A rank holds its own pairs and about as many of the others'.
    """
    mine = np.lexsort((numbers, key))
    keys, ids = key[mine], numbers[mine]
    cuts = _cuts(keys, ids, comm)
    here = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    got_keys = comm.alltoall([keys[s] for s in here])
    got_ids = comm.alltoall([ids[s] for s in here])
    order = np.lexsort((np.concatenate(got_ids), np.concatenate(got_keys)))
    counts = np.concatenate(comm.allgather(np.array([len(order)])))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) + counts[: comm.rank].sum()
    ends = np.cumsum([len(k) for k in got_keys])[:-1]
    positions = np.empty(len(mine), np.int64)
    positions[mine] = np.concatenate(comm.alltoall(np.split(place, ends)))
    return positions


def _cuts(keys: Vector, ids: Numbers, comm: Comm) -> list[int]:
    """Cut this rank's sorted pairs into one range for each rank, by splitters that all ranks share."""
    sample = np.linspace(0, len(keys) - 1, min(len(keys), 16 * comm.size)).astype(np.int64)
    all_keys = np.concatenate(comm.allgather(keys[sample]))
    all_ids = np.concatenate(comm.allgather(ids[sample]))
    order = np.lexsort((all_ids, all_keys))
    cuts = [0]
    for r in range(1, comm.size):
        if len(order) == 0:
            cuts.append(0)
            continue
        splitter = order[len(order) * r // comm.size]
        low, high = (int(np.searchsorted(keys, all_keys[splitter], side)) for side in ("left", "right"))
        cuts.append(low + int(np.searchsorted(ids[low:high], all_ids[splitter])))
    return [*cuts, len(keys)]


class Holdout:
    """Which rows are held out, by a seeded hash of their number, and how the kept and the held are numbered."""

    STRIDE = 1 << 16

    def __init__(self, fraction: float, total: int, seed: int, comm: Comm) -> None:
        self._seed = seed_of(seed, _HOLDOUT, 0, 0)
        self._below = np.uint64(min(round(fraction * 2.0**64), 2**64 - 1))
        self._fraction, self._total = fraction, total
        blocks = -(-total // self.STRIDE) if fraction > 0 else 0
        first, last = block(blocks, comm.size, comm.rank)
        mine = [int(self._mask(b * self.STRIDE, self._length(b)).sum()) for b in range(first, last)]
        counts = np.concatenate(comm.allgather(np.array(mine, np.int64)))
        self._before = np.concatenate([[0], np.cumsum(counts)])
        self.held = int(self._before[-1])

    def _length(self, b: int) -> int:
        return min(self.STRIDE, self._total - b * self.STRIDE)

    def _mask(self, start: int, n: int) -> NDArray[np.bool_]:
        return np.asarray(hashes(start, n, self._seed) < self._below)

    def split(self, start: int, n: int) -> tuple[NDArray[np.bool_], Numbers]:
        """Say for rows start … start+n-1 whether each is held out, and its number among its kind."""
        rows = np.arange(start, start + n)
        if self._fraction <= 0:
            return np.zeros(n, np.bool_), rows
        b = start // self.STRIDE
        mask = self._mask(b * self.STRIDE, start + n - b * self.STRIDE)
        before = int(self._before[b]) + np.cumsum(mask) - mask
        before = before[start - b * self.STRIDE :]
        mask = mask[start - b * self.STRIDE :]
        return mask, np.where(mask, before, rows - before)
