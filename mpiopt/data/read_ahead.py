"""Blocks of rows that are visited in a random order, read from the disk behind the computation.

A pass visits rows one after the other, and the system sees that and reads ahead. A random order it cannot foresee: it
is told which pages come next.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.row_storage import FileMapping, owner_of, storage_of
from mpiopt.data.shard import DenseRows, Indices, Rows

WINDOW = 16 << 20  # bytes of rows that are asked for while those before are used: 10 ms of a disk of 1.6 GB/s
STRETCH = 1 << 18  # bytes of neighbouring rows: a disk reads pieces of this size at full speed


def read_ahead(rows: Rows, starts: Indices, block: int) -> Iterator[Indices]:
    """Yield `starts`, in parts where rows lie in a file; those of the next part are read while one is used.

    Parameters
    ----------
    rows : DenseRows or CsrRows
        The rows.
    starts : ndarray of int64, shape (m,)
        First row of each block, in the order of the visits.
    block : int
        Rows of a block.

    Examples
    --------
    >>> rows = DenseRows(np.zeros((4, 8)))
    >>> [part.tolist() for part in read_ahead(rows, np.array([2, 0]), 2)]
    [[2, 0]]
    """
    if not (len(starts) and storage_of(rows.values).folder):
        yield starts
        return
    size = max(1, int(WINDOW / (block * row_bytes(rows))))
    parts = [starts[k : k + size] for k in range(0, len(starts), size)]
    _ask_for(rows, parts[0], block)
    _say(rows, mmap.MADV_RANDOM)  # the system reads what is asked for, and no neighbours
    try:
        for part, following in zip(parts, [*parts[1:], parts[0][:0]], strict=True):
            _ask_for(rows, following, block)
            yield part
    finally:
        _say(rows, mmap.MADV_SEQUENTIAL)


def stretch_of(rows: Rows, block: int) -> int:
    """Return how many neighbouring blocks are visited in one window; 0 where rows are in memory."""
    if not storage_of(rows.values).folder:
        return 0
    return max(1, int(STRETCH / (block * row_bytes(rows))))


def row_bytes(rows: Rows) -> float:
    """Return the mean bytes of a row that lie in the file."""
    of_entry = rows.values.itemsize + (0 if isinstance(rows, DenseRows) else rows.indices.itemsize)
    return max(1.0, of_entry * rows.values.size / max(1, len(rows)))


def _say(rows: Rows, advice: int) -> None:
    """Tell the system in which order rows are visited."""
    for numbers in [rows.values] if isinstance(rows, DenseRows) else [rows.indices, rows.values]:
        memory = owner_of(numbers)
        if isinstance(memory, FileMapping):
            memory.madvise(advice)


def _ask_for(rows: Rows, starts: Indices, block: int) -> None:
    """Ask the system for blocks of rows; it reads them while this process goes on."""
    first, last = starts, np.minimum(starts + block, len(rows))
    if isinstance(rows, DenseRows):
        _will_need(rows.values.reshape(-1), first * rows.width, last * rows.width)
    else:
        for numbers in (rows.indices, rows.values):
            _will_need(numbers, rows.indptr[first], rows.indptr[last])


def _will_need(numbers: NDArray[np.generic], first: Indices, last: Indices) -> None:
    memory = owner_of(numbers)
    if not isinstance(memory, FileMapping):
        return
    base = numbers.ctypes.data - np.frombuffer(memory, np.uint8, 1).ctypes.data
    begin = (base + first * numbers.itemsize) // mmap.PAGESIZE * mmap.PAGESIZE
    end = base + last * numbers.itemsize
    for a, b in zip(begin.tolist(), end.tolist(), strict=True):
        if a < b:
            memory.madvise(mmap.MADV_WILLNEED, a, b - a)
