"""Sums over the rows of one rank, for dense and for CSR rows alike.

The kernels come in pairs, one for each layout of the rows; the functions here choose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.kernels import columns as column_kernels
from mpiopt.kernels import csr as csr_kernels
from mpiopt.kernels import row_products
from mpiopt.kernels.arrays import CsrArrays, Labels
from mpiopt.kernels.dense import pass_dense
from mpiopt.kernels.lanes import padded
from mpiopt.kernels.loss_block import address, identity_slope, identity_value
from mpiopt.objective.losses.base import Loss

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_CHUNK = 1024  # rows that are converted to float64 at a time
_LINE = 8  # float64 numbers of a cache line
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


def margins(rows: Rows, w: Matrix, by_model: bool = False) -> Matrix:
    """Compute w x_i for each row, shape (n, outputs), or (outputs, n) with `by_model`."""
    if isinstance(rows, DenseRows):
        out = np.empty((len(w), len(rows)) if by_model else (len(rows), len(w)))
        for block, x in _chunks(rows):
            if by_model:
                out[:, block] = w @ x.T
            else:
                out[block] = x @ w.T
        return out
    if w.shape[1] != rows.width:
        raise ValueError(f"model {w.shape} does not fit rows of width {rows.width}")
    table = np.empty((len(rows), len(w)))
    csr_kernels.margins_csr(arrays(rows), by_column(w), table)
    return np.ascontiguousarray(table.T) if by_model else table


def distances(rows: Rows, far: Vector) -> Rows:
    """Return new rows of float64 numbers x_ij - far_j, far (features,); 0 in columns beyond."""
    middle = np.append(far, np.zeros(rows.width - len(far)))
    if isinstance(rows, DenseRows):
        return DenseRows(rows.values - middle)
    return CsrRows(rows.indptr, rows.indices, rows.values - middle[rows.indices], rows.width)


def exact_products(w: Matrix, far: Vector) -> Vector:
    """Compute w·far for each output, rounded once; w (outputs, width) (T. J. Dekker 1971).

    Examples
    --------
    >>> exact_products(np.array([[1e12 + 1.0, -1e12]]), np.array([1e12, 1e12 + 1.0])).tolist()
    [0.0]
    """
    w = w[:, : len(far)]
    found = np.empty(len(w))
    for i, one in enumerate(w):
        with np.errstate(over="ignore", invalid="ignore"):
            product = one * far
            (a, a_rest), (b, b_rest) = _split(one), _split(far)
            rest = ((a * b - product) + a * b_rest + a_rest * b) + a_rest * b_rest
        whole = np.isfinite(product).all() and np.isfinite(rest).all()
        found[i] = math.fsum((*product.tolist(), *rest.tolist())) if whole else product.sum()
    return found


def _split(x: Vector) -> tuple[Vector, Vector]:
    """Return two numbers of at most 26 bits each that add up to x."""
    big = 134217729.0 * x  # 2²⁷ + 1
    high = big - (big - x)
    return high, x - high


def gram(rows: Rows, c: Vector) -> Matrix:
    """Compute Σ c_i x_i x_iᵀ, shape (width, width), for c_i >= 0."""
    total = np.zeros((rows.width, rows.width))
    if isinstance(rows, CsrRows) and len(rows.indices) ** 2 * _SCATTER_COST < (len(rows) * rows.width) ** 2:
        row_products.gram_csr(rows.indptr, rows.indices, rows.values, c, total)
        return np.triu(total) + np.triu(total, 1).T
    root = np.sqrt(c)
    if isinstance(rows, DenseRows) and (root == root[:1]).all():  # of a quadratic loss without weights: no copy
        for _block, x in _chunks(rows):
            total += x.T @ x
        return total * c[0] if len(c) else total
    for block, x in _chunks(rows):
        r, used = root[block, None], root[block] > 0.0
        x = x * r if used.all() else x[used] * r[used]  # hinges and knees leave many rows without curvature
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
    if isinstance(rows, CsrRows):
        sums = zero_columns(table.shape[1], rows.width)
        csr_kernels.sum_csr(arrays(rows), np.ascontiguousarray(table, np.float64), sums)
        return by_output(sums, table.shape[1])
    total = np.zeros((table.shape[1], rows.width))
    for block in _ranges(len(rows)):
        total += table[block].T @ dense_block(rows, block, rows.width)
    return total


def column_counts(rows: Rows) -> NDArray[np.int64]:
    """Count in how many rows each column is stored, shape (width,)."""
    if isinstance(rows, DenseRows):
        return np.full(rows.width, len(rows))
    counts = np.zeros(rows.width, np.int64)
    row_products.count(rows.indices, counts)
    return counts


def chosen_columns(rows: Rows, columns: NDArray[np.int64]) -> Rows:
    """Copy some columns, given in ascending order, to rows of width len(columns)."""
    if isinstance(rows, DenseRows):
        return DenseRows(np.ascontiguousarray(rows.values[:, columns]))
    number = np.full(rows.width, -1, np.int32)
    number[columns] = np.arange(len(columns))
    lengths = np.empty(len(rows), np.int64)
    column_kernels.count_chosen(rows.indptr, rows.indices, number, lengths)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    chosen = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], rows.values.dtype), len(columns))
    column_kernels.copy_chosen(rows.indptr, rows.indices, rows.values, number, chosen.indices, chosen.values)
    return chosen


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
    gradient = zero_columns(len(w), rows.width)
    value = csr_kernels.pass_csr(arrays(rows), Labels(y, s), by_column(w), gradient, table, *addresses)
    return float(value), by_output(gradient, len(w))


def arrays(rows: CsrRows) -> CsrArrays:
    """Return CSR rows as kernels take them."""
    return CsrArrays(rows.indptr, rows.indices, rows.values)


def by_column(w: Matrix) -> Matrix:
    """Copy a model (outputs, width) to the form that the kernels of CSR rows take, or share its memory.

    The outputs of a column lie side by side, filled up with zeros.
    """
    w = np.ascontiguousarray(w, np.float64)
    if len(w) == 1:
        return w.reshape(-1, 1)
    found = _on_cache_lines(np.empty(w.shape[1] * padded(len(w)) + _LINE), w.shape[1])
    csr_kernels.to_columns(w, found)
    return found


def zero_columns(outputs: int, width: int) -> Matrix:
    """Return the gradient 0 in the form that the kernels of CSR rows take: one column more than the model has."""
    return _on_cache_lines(np.zeros((width + 1) * padded(outputs) + _LINE), width + 1)


def _on_cache_lines(space: Vector, columns: int) -> Matrix:
    """Return the part of an array that begins at a cache line and has a row for each column."""
    start = -(space.ctypes.data // space.itemsize) % _LINE
    return space[start : len(space) - _LINE + start].reshape(columns, -1)


def by_output(gradient: Matrix, outputs: int) -> Matrix:
    """Return what began as `zero_columns` as (outputs, width); it may share the memory."""
    if outputs == 1:
        return gradient[:-1].reshape(1, -1)
    found = np.empty((outputs, len(gradient) - 1))
    csr_kernels.to_outputs(gradient, found)
    return found


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
