"""Convert rows between their forms: dense, CSR, float32, with an intercept, a selection."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.row_storage import RowStorage, owner_of, storage_of
from mpiopt.data.shard import CsrRows, DenseRows, Indices, Rows
from mpiopt.kernels import row_moves

LARGE = 1 << 20  # bytes from which on an array has memory pages of its own
ALIGNMENT = 64  # bytes, a cache line
MEMORY = RowStorage()
NO_ROWS = CsrRows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0), 0)


def aligned_zeros(n: int, width: int, dtype: type[np.floating], storage: RowStorage = MEMORY) -> NDArray[np.floating]:
    """Return an (n, width) array of zeros whose first row starts at a cache line."""
    nbytes = n * width * np.dtype(dtype).itemsize
    if nbytes >= LARGE or (storage.folder and nbytes):
        return storage.numbers(n * width, dtype, 0).reshape(n, width)
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    found: NDArray[np.floating] = raw[start : start + nbytes].view(dtype).reshape(n, width)
    return found


def _to_float32_in_place(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Convert an array of `aligned_zeros` to float32 in its own memory, and return the rest to the system."""
    n, width = values.shape
    memory = owner_of(values)
    if not isinstance(memory, mmap.mmap):
        found = aligned_zeros(n, width, np.float32)
        found[:] = values
        return found
    narrow: NDArray[np.floating] = values.reshape(-1).view(np.float32)[: n * width].reshape(n, width)
    step = max(1, LARGE // max(1, 8 * width))
    for start in range(0, n, step):
        narrow[start : start + step] = values[start : start + step].astype(np.float32)
    used = -(-narrow.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    if hasattr(mmap, "MADV_DONTNEED") and used < len(memory):
        memory.madvise(mmap.MADV_DONTNEED, used)
    return narrow


def padded_width(columns: int) -> int:
    """Return the number of columns rounded up to a multiple of 8."""
    return -(-columns // 8) * 8


def row_pointer(lengths: Indices) -> Indices:
    """Return the `indptr` of CSR rows with these lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def empty_csr(
    lengths: Indices, width: int, dtype: type[np.floating] | np.dtype[np.floating], storage: RowStorage = MEMORY
) -> CsrRows:
    """Return CSR rows with these lengths whose entries are not set."""
    indptr = row_pointer(lengths)
    stored = int(indptr[-1])
    if storage.folder:
        return CsrRows(indptr, storage.numbers(stored, np.int32, 0), storage.numbers(stored, dtype, 0), width)
    return CsrRows(indptr, np.empty(stored, np.int32), np.empty(stored, dtype), width)


def to_dense(rows: CsrRows, width: int) -> DenseRows:
    """Convert CSR rows to dense ones of `width` columns."""
    values = aligned_zeros(len(rows), width, rows.values.dtype.type)
    row_moves.spread(rows.indptr, rows.indices, rows.values, values)
    return DenseRows(values)


def to_csr(values: NDArray[np.floating], spare: int) -> CsrRows:
    """Convert dense rows to CSR, with room for `spare` more entries at the end of each row."""
    lengths = row_moves.count_nonzeros(values) + spare
    rows = empty_csr(lengths, values.shape[1] + spare, values.dtype, storage_of(values))
    row_moves.compress(values, rows.indptr, rows.indices, rows.values)
    return rows


def select(rows: CsrRows, chosen: Indices) -> CsrRows:
    """Return the rows `chosen`, in that order, as float64."""
    return gathered(rows, chosen, np.float64)


def gathered(rows: CsrRows, chosen: Indices, dtype: type[np.floating] | None = None) -> CsrRows:
    """Return the rows `chosen`, in that order, in a type or their own."""
    found = empty_csr(np.diff(rows.indptr)[chosen], rows.width, dtype or rows.values.dtype.type)
    row_moves.gather(chosen, rows.indptr, rows.indices, rows.values, found.indptr[:-1], found.indices, found.values)
    return found


def without_zeros(rows: CsrRows) -> CsrRows:
    """Return the rows without zeros that are stored."""
    kept = rows.values != 0
    if kept.all():
        return rows
    before = row_pointer(kept)
    return CsrRows(before[rows.indptr], rows.indices[kept], rows.values[kept], rows.width)


def set_intercept(rows: Rows, d: int) -> Rows:
    """Set the intercept's column to 1, in place: column `d`, or the last entry of each CSR row."""
    if isinstance(rows, CsrRows):
        rows.values[rows.indptr[1:] - 1] = 1.0
    else:
        rows.values[:, d] = 1.0
    return rows


def to_float32(rows: Rows) -> Rows:
    """Convert rows to float32; dense ones in their own memory, which overwrites them.

    A value that does not fit becomes infinite: `refuse_beyond_float32` comes first.
    """
    if rows.values.dtype == np.float32:
        return rows
    if isinstance(rows, CsrRows):
        if storage_of(rows.values).folder:  # what is beside other rows in a file stays there
            narrow = _to_float32_in_place(rows.values.reshape(-1, 1)).reshape(-1)
        else:
            narrow = rows.values.astype(np.float32)
        return CsrRows(rows.indptr, rows.indices, narrow, rows.width)
    return DenseRows(_to_float32_in_place(rows.values))
