"""Rows from one form into another: dense, CSR, float32, with an intercept, some of the rows."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.growable_buffer import anonymous
from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.kernels import row_moves as kernels

Numbers = NDArray[np.int64]
LARGE = 1 << 20  # bytes from which on an array has pages of its own
NO_ROWS = CsrRows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0), 0)


def aligned(n: int, width: int, dtype: type[np.floating]) -> NDArray[np.floating]:
    """Give an (n, width) array of zeros whose first row begins at a multiple of 64 bytes."""
    nbytes = n * width * np.dtype(dtype).itemsize
    if nbytes >= LARGE:
        return np.frombuffer(anonymous(nbytes), dtype, n * width).reshape(n, width)
    raw = np.zeros(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    found: NDArray[np.floating] = raw[start : start + nbytes].view(dtype).reshape(n, width)
    return found


def narrowed(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Turn an array of `aligned` into float32 in its own memory, and give what is left over to the system."""
    n, width = values.shape
    room = values
    while isinstance(room.base, np.ndarray):
        room = room.base
    whole = memoryview(room.base).obj if isinstance(room.base, memoryview) else room.base
    if not isinstance(whole, mmap.mmap):
        found = aligned(n, width, np.float32)
        found[:] = values
        return found
    narrow: NDArray[np.floating] = values.reshape(-1).view(np.float32)[: n * width].reshape(n, width)
    step = max(1, LARGE // max(1, 8 * width))
    for start in range(0, n, step):
        narrow[start : start + step] = values[start : start + step].astype(np.float32)
    used = -(-narrow.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    if hasattr(mmap, "MADV_DONTNEED") and used < len(whole):
        whole.madvise(mmap.MADV_DONTNEED, used)
    return narrow


def padded(columns: int) -> int:
    """Round up to a multiple of 8."""
    return -(-columns // 8) * 8


def spread(rows: CsrRows, width: int) -> DenseRows:
    """Give CSR rows as dense ones of `width` columns."""
    values = aligned(len(rows), width, rows.values.dtype.type)
    kernels.spread(rows.indptr, rows.indices, rows.values, values)
    return DenseRows(values)


def take(rows: CsrRows, chosen: Numbers) -> CsrRows:
    """Give the rows `chosen`, in that order."""
    lengths = np.diff(rows.indptr)[chosen]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    found = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1]), rows.width)
    kernels.gather(chosen, rows.indptr, rows.indices, rows.values, indptr[:-1], found.indices, found.values)
    return found


def without_zeros(rows: CsrRows) -> CsrRows:
    """Drop zeros that are stored."""
    kept = rows.values != 0
    if kept.all():
        return rows
    before = np.concatenate([[0], np.cumsum(kept)])
    return CsrRows(before[rows.indptr], rows.indices[kept], rows.values[kept], rows.width)


def compressed(values: NDArray[np.floating], spare: int) -> CsrRows:
    """Give dense rows as CSR, with room for `spare` more values at the end of each row."""
    lengths = kernels.count_nonzeros(values) + spare
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    width = values.shape[1] + spare
    rows = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], values.dtype), width)
    kernels.compress(values, indptr, rows.indices, rows.values)
    return rows


def with_ones(rows: Rows, d: int) -> Rows:
    """Set the intercept's column, in place: column `d`, or the last stored entry of each row."""
    if isinstance(rows, CsrRows):
        rows.values[rows.indptr[1:] - 1] = 1.0
    else:
        rows.values[:, d] = 1.0
    return rows


def single(rows: Rows) -> Rows:
    """Give the rows in float32; dense ones in the memory of the others, which are lost."""
    if rows.values.dtype == np.float32:
        return rows
    if isinstance(rows, CsrRows):
        return CsrRows(rows.indptr, rows.indices, rows.values.astype(np.float32), rows.width)
    return DenseRows(narrowed(rows.values))
