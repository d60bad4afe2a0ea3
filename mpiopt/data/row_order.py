"""Where each row of a file goes: to training or hold-out, and to which position, for any number of ranks.

The orders `shuffled`, `contiguous` and `round-robin` are computed for each row by itself; `sorted-by-label` is a
sample sort over all ranks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.core.rng import seed_of
from mpiopt.data.formats.base import RawRows, Source
from mpiopt.data.row_checks import check_pieces
from mpiopt.data.shard import Indices, Vector
from mpiopt.kernels.row_moves import ascending, feistel, hashes

Order = Callable[[Indices], Indices]  # from numbers of rows to their positions
_SHUFFLE, _HOLDOUT, _DRAW = 101, 102, 109  # streams of randomness
LARGEST_FACTOR = 4096  # of the parts of the rows that are counted: a smaller part is too few rows for any use
SAMPLES_PER_RANK = 16  # keys that a rank sends for each rank, to choose the ranges of the sample sort


class Move(NamedTuple):
    """Rows of a piece, and their positions in a sequence."""

    rows: Indices
    positions: Indices


@dataclass(frozen=True, eq=False)
class Partition:
    """The sequences into which the rows of a source are divided: to train on, then to hold out, if any."""

    totals: tuple[int, ...]  # rows of each sequence
    order: Order  # of the rows to train on; the others keep the order of the file
    holdout: Holdout

    def moves(self, piece: RawRows | None) -> list[Move]:
        """Return for each sequence the rows of a piece that go there; without a piece there are none."""
        held, numbers = self.holdout.split(piece.start, len(piece)) if piece else (np.zeros(0, np.bool_), _NONE)
        rows = np.flatnonzero(~held)
        moves = [Move(rows, self.order(numbers[rows]))]
        if len(self.totals) > 1:
            rows = np.flatnonzero(held)
            moves.append(Move(rows, numbers[rows]))
        return moves


_NONE = np.zeros(0, np.int64)


def partition_rows(source: Source, order: str, fraction: float, seed: int, comm: Comm) -> Partition:
    """Divide the rows of a source: the `fraction` to hold out, and the others in the order of that name; collective.

    Raises
    ------
    ValueError
        If no row is left to train on.
    """
    holdout = Holdout(fraction, source.total, seed, comm)
    kept = source.total - holdout.held
    if kept == 0:
        raise ValueError(f"{source.path}: no row is left to train on after the hold-out")
    totals = (kept, holdout.held) if holdout.held else (kept,)
    if order == "sorted-by-label":
        return Partition(totals, _by_label(source, holdout, comm), holdout)
    orders = {"shuffled": lambda: shuffled(kept, seed), "round-robin": lambda: round_robin(kept)}
    return Partition(totals, orders[order]() if order in orders else contiguous, holdout)


@cache
def _limits() -> NDArray[np.uint64]:
    """Return 2⁶⁴/f for each factor f from 0; those below 2 have that of 2."""
    return np.array([(1 << 64) // max(f, 2) for f in range(LARGEST_FACTOR + 1)], np.uint64)


def drawn_order(start: int, n: int, seed: int) -> tuple[Indices, Indices]:
    """Return a random order of rows in memory in which the parts of all rows come first.

    Each row of the data set draws a number in [0, 1) by its own number alone; rows lie in memory by what they drew.
    Those that drew less than 1/f are the same rows of the data set on any number of ranks.

    Parameters
    ----------
    start, n : int
        Numbers of the rows in the data set: start … start + n - 1.
    seed : int
        Seed of the draws.

    Returns
    -------
    order : ndarray of int64, shape (n,)
        A permutation: the row with number `start + order[j]` is row j in memory.
    parts : ndarray of int64, shape (LARGEST_FACTOR + 1,)
        For each factor f >= 1, how many rows drew less than 1/f.

    Examples
    --------
    >>> order, parts = drawn_order(0, 1000, 0)
    >>> parts[[1, 2, 8]].tolist()
    [1000, 507, 125]
    """
    order, draws = ascending(hashes(start, n, seed_of(seed, _DRAW, 0, 0)))
    parts = np.searchsorted(draws, _limits())
    parts[:2] = n
    return order, parts


def shuffled(total: int, seed: int) -> Order:
    """Return a pseudo-random bijection of 0 … total-1, the same for the same seed."""
    key = seed_of(seed, _SHUFFLE, 0, 0)
    return lambda numbers: np.asarray(feistel(numbers, total, key))


def contiguous(numbers: Indices) -> Indices:
    """Keep the order of the file."""
    return numbers


def round_robin(total: int) -> Order:
    """Deal rows evenly to any number of ranks: position = number · g mod total, with g / total near the golden ratio.

    By the three-gap theorem every rank gets its share of every range of the file, within a few rows, for any number
    of ranks. Dealing by row number modulo ranks would make the sequence depend on the number of ranks.
    """
    g = max(1, round(total * (math.sqrt(5) - 1) / 2))
    while math.gcd(g, total) > 1:
        g += 1
    return lambda numbers: numbers * g % max(total, 1)


def _by_label(source: Source, holdout: Holdout, comm: Comm) -> Order:
    """Sort by label, equal labels in the order of the file; reads the labels in a pass of its own; collective."""
    found, numbers = [np.empty(0)], [_NONE]
    with comm.agree_on_errors():
        for piece in check_pieces(source):
            held, number = holdout.split(piece.start, len(piece))
            found.append(piece.label[~held])
            numbers.append(number[~held])
    known = np.concatenate(numbers)
    positions = sort(np.concatenate(found), known, comm)
    return lambda asked: positions[np.searchsorted(known, asked)]


def sort(key: Vector, numbers: Indices, comm: Comm) -> Indices:
    """Return the position of each (key, number) among those of all ranks, by a sample sort; all pairs are distinct.

    A rank holds its own pairs and about as many from other ranks.
    """
    mine = np.lexsort((numbers, key))
    keys, ids = key[mine], numbers[mine]
    cuts = _cuts(keys, ids, comm)
    here = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    received_keys = comm.alltoall([keys[s] for s in here])
    received_ids = comm.alltoall([ids[s] for s in here])
    order = np.lexsort((np.concatenate(received_ids), np.concatenate(received_keys)))
    counts = np.concatenate(comm.allgather(np.array([len(order)])))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) + counts[: comm.rank].sum()
    ends = np.cumsum([len(k) for k in received_keys])[:-1]
    positions = np.empty(len(mine), np.int64)
    positions[mine] = np.concatenate(comm.alltoall(np.split(place, ends)))
    return positions


def _cuts(keys: Vector, ids: Indices, comm: Comm) -> list[int]:
    """Divide this rank's sorted pairs into one range for each rank, at splitters that all ranks share."""
    sample = np.linspace(0, len(keys) - 1, min(len(keys), SAMPLES_PER_RANK * comm.size)).astype(np.int64)
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
    """Which rows are held out, by a seeded hash of their number, and how the kept and the held rows are numbered."""

    STRIDE = 1 << 16  # rows whose held ones are counted together

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

    def split(self, start: int, n: int) -> tuple[NDArray[np.bool_], Indices]:
        """Return for rows start … start+n-1 whether each is held out, and its number among its kind."""
        rows = np.arange(start, start + n)
        if self._fraction <= 0:
            return np.zeros(n, np.bool_), rows
        b = start // self.STRIDE
        mask = self._mask(b * self.STRIDE, start + n - b * self.STRIDE)
        before = int(self._before[b]) + np.cumsum(mask) - mask
        before = before[start - b * self.STRIDE :]
        mask = mask[start - b * self.STRIDE :]
        return mask, np.where(mask, before, rows - before)
