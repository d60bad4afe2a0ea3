"""Rows from one form into another: dense, CSR, float32, with an intercept, some of the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels import moving as kernels
from mpiopt.shard import CsrRows, DenseRows, Rows

Numbers = NDArray[np.int64]
NO_ROWS = CsrRows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0), 0)


def aligned(n: int, width: int, dtype: type[np.floating]) -> NDArray[np.floating]:
    """Give an (n, width) array of zeros whose first row begins at a multiple of 64 bytes."""
    nbytes = n * width * np.dtype(dtype).itemsize
    raw = np.zeros(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    found: NDArray[np.floating] = raw[start : start + nbytes].view(dtype).reshape(n, width)
    return found


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
    """Give the rows in float32."""
    if rows.values.dtype == np.float32:
        return rows
    if isinstance(rows, CsrRows):
        return CsrRows(rows.indptr, rows.indices, rows.values.astype(np.float32), rows.width)
    values = aligned(len(rows), rows.width, np.float32)
    values[:] = rows.values
    return DenseRows(values)
