"""Sums over the rows of one rank, for dense and for CSR rows alike.

The kernels come in pairs, one for each layout of the rows; the functions here choose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.kernels import row_products
from mpiopt.kernels.csr import pass_csr
from mpiopt.kernels.dense import pass_dense
from mpiopt.kernels.loss_block import address, identity_slope, identity_value
from mpiopt.objective.losses.base import Loss

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_CHUNK = 1024  # rows that are converted to float64 at a time
_SCATTER_COST = 16  # of a multiply-add of `gram_csr`, in multiply-adds of a matrix product


def value_and_gradient(
    rows: Rows, y: Vector, s: Vector, loss: Loss, w: Matrix, table: Matrix
) -> tuple[float, Matrix]:
    """Compute Σ s_i loss_i(w x_i) and its gradient in one pass.

    Parameters
    ----------
    rows : DenseRows or CsrRows
        n rows x_i of `width` columns.
    y, s : ndarray, shape (n,)
        Labels and weights.
    loss : Loss
        The loss.
    w : ndarray, shape (outputs, width)
        The model.
    table : ndarray, shape (n, outputs) or (0, outputs)
        Filled with the slopes s_i loss_i'(w x_i), unless it has no rows.

    Returns
    -------
    value : float
        The sum.
    gradient : ndarray, shape (outputs, width)
        Σ s_i loss_i' x_iᵀ.
    """
    return _pass(rows, y, s, w, table, (loss.value_address, loss.slope_address))


def hessian_vector(rows: Rows, c: Vector, p: Matrix) -> Matrix:
    """Compute Σ c_i (p x_i) x_iᵀ, shape (outputs, width): a Hessian with curvatures c_i times p."""
    return _pass(rows, c, c, p, np.empty((0, len(p))), _identity())[1]


def margins(rows: Rows, w: Matrix) -> Matrix:
    """Compute w x_i for each row, shape (n, outputs)."""
    if isinstance(rows, DenseRows):
        out = np.empty((len(rows), len(w)))
        for block, x in _chunks(rows):
            out[block] = x @ w.T
        return out
    table, ones = np.empty((len(rows), len(w))), np.ones(len(rows))
    _pass(rows, ones, ones, w, table, _identity())
    return table


def gram(rows: Rows, c: Vector) -> Matrix:
    """Compute Σ c_i x_i x_iᵀ, shape (width, width), for c_i >= 0."""
    total = np.zeros((rows.width, rows.width))
    if isinstance(rows, CsrRows) and len(rows.indices) ** 2 * _SCATTER_COST < (len(rows) * rows.width) ** 2:
        row_products.gram_csr(rows.indptr, rows.indices, rows.values, c, total)
        return np.triu(total) + np.triu(total, 1).T
    for block, x in _chunks(rows):
        x = x * np.sqrt(c[block, None])
        total += x.T @ x
    return total


def squared_norms(rows: Rows, column: Vector | None = None) -> Vector:
    """Compute Σ_j column_j x_ij² for each row, shape (n,); ‖x_i‖² without `column`."""
    out = np.empty(len(rows))
    each = np.ones(rows.width) if column is None else np.ascontiguousarray(column, np.float64)
    if isinstance(rows, DenseRows):
        row_products.norms_dense(rows.values, each, out)
    else:
        row_products.norms_csr(rows.indptr, rows.indices, rows.values, each, out)
    return out


def column_squares(rows: Rows, c: Vector) -> Vector:
    """Compute Σ_i c_i x_ij² for each column, shape (width,)."""
    total, c = np.zeros(rows.width), np.ascontiguousarray(c, np.float64)
    if isinstance(rows, DenseRows):
        row_products.columns_dense(rows.values, c, total)
    else:
        row_products.columns_csr(rows.indptr, rows.indices, rows.values, c, total)
    return total


class Blocks(NamedTuple):
    """Margins and Gram matrices of m blocks of b rows; rows that a short last block lacks are zeros.

    Attributes
    ----------
    margins : ndarray, shape (m, b, outputs)
        w x_i.
    grams : ndarray, shape (m, b, b)
        Σ_j column_j x_ij x_kj.
    rows : ndarray of int64, shape (m, b)
        The numbers of the rows; -1 where the block has none.
    """

    margins: Matrix
    grams: Matrix
    rows: NDArray[np.int64]


def blocks(rows: Rows, w: Matrix, column: Vector, starts: NDArray[np.int64], batch: int) -> Blocks:
    """Compute margins and Gram matrices of blocks that begin at `starts`; `column` (width,) scales the columns."""
    index = starts[:, None] + np.arange(batch)
    index = np.where(index < len(rows), index, -1)
    found = Blocks(np.zeros((*index.shape, len(w))), np.zeros((*index.shape, batch)), index)
    if isinstance(rows, DenseRows):
        row_products.gram_blocks_dense(rows.values, w, column, index, found.margins, found.grams)
    else:
        row_products.gram_blocks_csr(
            rows.indptr, rows.indices, rows.values, w, column, index, found.margins, found.grams
        )
    return found


def weighted_row_sum(rows: Rows, table: Matrix) -> Matrix:
    """Compute Σ_i table_i x_iᵀ for numbers (n, outputs), shape (outputs, width)."""
    total = np.zeros((table.shape[1], rows.width))
    for block in _ranges(len(rows)):
        if isinstance(rows, DenseRows):
            total += table[block].T @ dense_block(rows, block, rows.width)
        else:
            row, column, values = _entries(rows, block)
            total += [np.bincount(column, values * t[block.start + row], rows.width) for t in table.T]
    return total


def column_counts(rows: Rows) -> NDArray[np.int64]:
    """Count in how many rows each column is stored, shape (width,)."""
    if isinstance(rows, DenseRows):
        return np.full(rows.width, len(rows))
    counts = np.zeros(rows.width, np.int64)
    row_products.count(rows.indices, counts)
    return counts


def dense_block(rows: Rows, block: slice, columns: int) -> Matrix:
    """Return a range of rows as a dense float64 matrix of the first `columns` columns; it may be a view."""
    if isinstance(rows, DenseRows):
        return np.ascontiguousarray(rows.values[block, :columns], np.float64)
    x = np.zeros((block.stop - block.start, columns))
    row, column, values = _entries(rows, block)
    x[row, column] = values
    return x


def _pass(
    rows: Rows, y: Vector, s: Vector, w: Matrix, table: Matrix, addresses: tuple[int, int]
) -> tuple[float, Matrix]:
    """Call the kernel for the layout of the rows, with the addresses of value and slope."""
    w = np.ascontiguousarray(w, np.float64)
    if w.shape[1] != rows.width or len(table) not in (0, len(rows)):
        raise ValueError(f"model {w.shape} and table {table.shape} do not fit {len(rows)} rows of width {rows.width}")
    if isinstance(rows, DenseRows):
        gradient = np.zeros_like(w)
        return float(pass_dense(rows.values, y, s, w, gradient, table, *addresses)), gradient
    records = np.zeros((rows.width, 2, len(w)))
    records[:, 0] = w.T
    value = pass_csr(rows.indptr, rows.indices, rows.values, y, s, records, table, *addresses)
    return float(value), np.ascontiguousarray(records[:, 1].T)


def _identity() -> tuple[int, int]:
    """Return the addresses of a loss whose slope is the margin: a pass with it sums margins."""
    return address(identity_value), address(identity_slope)


def _ranges(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK))


def _entries(rows: CsrRows, block: slice) -> tuple[NDArray[np.int64], NDArray[np.int32], Vector]:
    """Return row number (counted from the range's start), column and value of each nonzero of a range of rows."""
    row = np.repeat(np.arange(block.stop - block.start), np.diff(rows.indptr[block.start : block.stop + 1]))
    stored = slice(int(rows.indptr[block.start]), int(rows.indptr[block.stop]))
    return row, rows.indices[stored], rows.values[stored].astype(np.float64)


def _chunks(rows: Rows) -> Iterator[tuple[slice, Matrix]]:
    """Yield ranges of at most _CHUNK rows, each with its rows as a dense float64 matrix."""
    return ((block, dense_block(rows, block, rows.width)) for block in _ranges(len(rows)))
