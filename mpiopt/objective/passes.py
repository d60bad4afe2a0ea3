"""Sums over rows that look the same for dense and CSR rows: the fused pass, curvature matrices, norms, counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.kernels import norms
from mpiopt.kernels.csr import gram_csr, pass_csr
from mpiopt.kernels.dense import pass_dense
from mpiopt.kernels.gram import gram_blocks_csr, gram_blocks_dense
from mpiopt.kernels.loss_block import address, identity_slope, identity_value
from mpiopt.objective.losses.base import Loss

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_CHUNK = 1024  # rows made float64 at a time
_SCATTER = 16  # a multiply-add of the scatter loop costs about this many of a matrix product


def fused(rows: Rows, y: Vector, s: Vector, loss: Loss, w: Matrix, table: Matrix) -> tuple[float, Matrix]:
    """Give Σ s_i loss_i(w x_i) and its gradient (outputs, width); fill `table` (n, outputs) unless it has no rows."""
    return _pass(rows, y, s, w, table, (loss.value_address, loss.slope_address))


def weighted(rows: Rows, c: Vector, p: Matrix) -> Matrix:
    """Give Σ c_i (p x_i) x_iᵀ, shape (outputs, width): a Hessian times a vector."""
    return _pass(rows, c, c, p, _nothing(p), (address(identity_value), address(identity_slope)))[1]


def margins(rows: Rows, w: Matrix) -> Matrix:
    """Give w x_i for each row, shape (n, outputs)."""
    if isinstance(rows, DenseRows):
        out = np.empty((len(rows), len(w)))
        for start, chunk in _chunks(rows):
            out[start : start + len(chunk)] = chunk @ w.T
        return out
    table, ones = np.empty((len(rows), len(w))), np.ones(len(rows))
    _pass(rows, ones, ones, w, table, (address(identity_value), address(identity_slope)))
    return table


def gram(rows: Rows, c: Vector) -> Matrix:
    """Give Σ c_i x_i x_iᵀ, shape (width, width), for numbers c_i >= 0."""
    total = np.zeros((rows.width, rows.width))
    if isinstance(rows, CsrRows) and len(rows.indices) ** 2 * _SCATTER < (len(rows) * rows.width) ** 2:
        gram_csr(rows.indptr, rows.indices, rows.values, c, total)
        return np.triu(total) + np.triu(total, 1).T
    for start, chunk in _chunks(rows):
        chunk = chunk * np.sqrt(c[start : start + len(chunk), None])
        total += chunk.T @ chunk
    return total


def squared_norms(rows: Rows, column: Vector | None = None) -> Vector:
    """Give Σ_j column_j x_ij² for each row (‖x_i‖² without `column`), shape (n,)."""
    out = np.empty(len(rows))
    each = np.ones(rows.width) if column is None else np.ascontiguousarray(column, np.float64)
    if isinstance(rows, DenseRows):
        norms.norms_dense(rows.values, each, out)
    else:
        norms.norms_csr(rows.indptr, rows.indices, rows.values, each, out)
    return out


def column_squares(rows: Rows, c: Vector) -> Vector:
    """Give Σ_i c_i x_ij² for each column, shape (width,)."""
    total, c = np.zeros(rows.width), np.ascontiguousarray(c, np.float64)
    if isinstance(rows, DenseRows):
        norms.columns_dense(rows.values, c, total)
    else:
        norms.columns_csr(rows.indptr, rows.indices, rows.values, c, total)
    return total


class Blocks(NamedTuple):
    """Of m blocks of b rows; rows that a short block lacks are zeros."""

    margins: Matrix  # (m, b, outputs) w x_i
    grams: Matrix  # (m, b, b) Σ_j column_j x_ij x_kj
    rows: NDArray[np.int64]  # (m, b) their numbers; -1 where there is none


def blocks(rows: Rows, w: Matrix, column: Matrix, starts: NDArray[np.int64], batch: int) -> Blocks:
    """Give margins and Gram matrices of the blocks that begin at `starts`; `column` (width,) scales the columns."""
    index = starts[:, None] + np.arange(batch)
    index = np.where(index < len(rows), index, -1)
    found = Blocks(np.zeros((*index.shape, len(w))), np.zeros((*index.shape, batch)), index)
    if isinstance(rows, DenseRows):
        gram_blocks_dense(rows.values, w, column, index, found.margins, found.grams)
    elif isinstance(rows, CsrRows):
        gram_blocks_csr(rows.indptr, rows.indices, rows.values, w, column, index, found.margins, found.grams)
    return found


def combined(rows: Rows, table: Matrix) -> Matrix:
    """Give Σ_i table_i x_iᵀ for numbers (n, outputs), shape (outputs, width)."""
    total = np.zeros((table.shape[1], rows.width))
    for start, stop in _ranges(len(rows)):
        if isinstance(rows, DenseRows):
            total += table[start:stop].T @ rows.values[start:stop].astype(np.float64, copy=False)
        else:
            row, stored, values = _entries(rows, start, stop)
            total += [np.bincount(stored, values * t[start + row], rows.width) for t in table.T]
    return total


def column_counts(rows: Rows) -> NDArray[np.int64]:
    """Give in how many rows each column is stored, shape (width,)."""
    if isinstance(rows, DenseRows):
        return np.full(rows.width, len(rows))
    counts = np.zeros(rows.width, np.int64)
    norms.count(rows.indices, counts)
    return counts


def _pass(
    rows: Rows, y: Vector, s: Vector, w: Matrix, table: Matrix, addresses: tuple[int, int]
) -> tuple[float, Matrix]:
    w = np.ascontiguousarray(w, np.float64)
    if w.shape[1] != rows.width or len(table) not in (0, len(rows)):
        raise ValueError(f"model {w.shape} and table {table.shape} do not fit {len(rows)} rows of width {rows.width}")
    if isinstance(rows, DenseRows):
        gradient = np.zeros_like(w)
        return float(pass_dense(rows.values, y, s, w, gradient, table, *addresses)), gradient
    records = np.zeros((rows.width, 2, len(w)))
    records[:, 0] = w.T
    arrays = (rows.indptr, rows.indices, rows.values)
    value = pass_csr(*arrays, y, s, records, table, *addresses)
    return float(value), np.ascontiguousarray(records[:, 1].T)


def _nothing(w: Matrix) -> Matrix:
    return np.empty((0, len(w)))


def _ranges(n: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK))


def _entries(rows: CsrRows, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int32], Vector]:
    """Give row number (from `start`), column and value of each nonzero of a range of rows."""
    row = np.repeat(np.arange(stop - start), np.diff(rows.indptr[start : stop + 1]))
    place = slice(int(rows.indptr[start]), int(rows.indptr[stop]))
    return row, rows.indices[place], rows.values[place].astype(np.float64)


def _chunks(rows: Rows) -> Iterator[tuple[int, Matrix]]:
    """Give the rows as dense float64 matrices of at most _CHUNK rows, each with its first row's number."""
    for start, stop in _ranges(len(rows)):
        if isinstance(rows, DenseRows):
            yield start, rows.values[start:stop].astype(np.float64, copy=False)
        else:
            chunk = np.zeros((stop - start, rows.width))
            row, column, values = _entries(rows, start, stop)
            chunk[row, column] = values
            yield start, chunk
