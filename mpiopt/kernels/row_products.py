"""Norms of rows, sums of squares of columns, counts, and Gram matrices; the rows are read once.

Gram matrices and margins of a block determine how the loss changes along the block's own gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpiopt.kernels.arrays import Columns, Integers, Matrix, Values, Vector
from mpiopt.kernels.csr import entry, place
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import EXACT, FAST


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def norms_dense(x: Values, column: Vector, out: Vector) -> None:
    """Write Σ_j column_j x_ij² to out[i]; x (n, width), column (width,), out (n,)."""
    for i in range(x.shape[0]):
        row, total = x[i], 0.0
        for j in range(x.shape[1]):
            value = np.float64(row[j])
            total += value * value * column[j]
        out[i] = total


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def columns_dense(x: Values, c: Vector, out: Vector) -> None:
    """Add Σ_i c_i x_ij² to out[j]; x (n, width), c (n,), out (width,)."""
    for i in range(x.shape[0]):
        row, one = x[i], c[i]
        for j in range(x.shape[1]):
            value = np.float64(row[j])
            out[j] += one * value * value


@njit(fastmath=EXACT, error_model="numpy")
def _term(indices: Columns, values: Values, column: Vector, p: int) -> Any:
    """Compute column_j x_ij² of one stored number."""
    value = np.float64(entry(values, p))
    return value * value * column[place(entry(indices, p), 1, 0)]


@njit(fastmath=EXACT, cache=True, nogil=True, error_model="numpy")
def norms_csr(indptr: Integers, indices: Columns, values: Values, column: Vector, out: Vector) -> None:
    """Do as `norms_dense` for CSR rows; in four sums, for the reason of `csr.margin`."""
    for i in range(len(out)):
        first, end = indptr[i], indptr[i + 1]
        whole = first + (end - first) // 4 * 4
        a = b = c = d = 0.0
        for p in range(first, whole, 4):
            a += _term(indices, values, column, p)
            b += _term(indices, values, column, p + 1)
            c += _term(indices, values, column, p + 2)
            d += _term(indices, values, column, p + 3)
        for p in range(whole, end):
            a += _term(indices, values, column, p)
        out[i] = (a + b) + (c + d)


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def columns_csr(indptr: Integers, indices: Columns, values: Values, c: Vector, out: Vector) -> None:
    """Do as `columns_dense` for CSR rows."""
    for i in range(len(c)):
        one = c[i]
        for p in range(indptr[i], indptr[i + 1]):
            value = np.float64(entry(values, p))
            out[place(entry(indices, p), 1, 0)] += one * value * value


@njit(cache=True, nogil=True, error_model="numpy")
def count(indices: Columns, out: Integers) -> None:
    """Add to out[j] how often j is among the indices; out (width,)."""
    for p in range(len(indices)):
        out[place(entry(indices, p), 1, 0)] += 1


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def gram_csr(indptr: Integers, indices: Columns, values: Values, c: Vector, out: Matrix) -> None:
    """Add the upper triangle of Σ c_i x_i x_iᵀ to `out` (width, width); c (n,)."""
    for i in range(len(c)):
        for p in range(indptr[i], indptr[i + 1]):
            one, j = c[i] * entry(values, p), place(entry(indices, p), 1, 0)
            for q in range(p, indptr[i + 1]):
                out[j, place(entry(indices, q), 1, 0)] += one * entry(values, q)


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def gram_blocks_dense(x: Values, w: Matrix, column: Vector, index: Integers, margins: Matrix, grams: Matrix) -> None:
    """Fill the margins and Gram matrices of blocks of dense rows.

    Parameters
    ----------
    x : ndarray, shape (n, width)
        Rows.
    w : ndarray, shape (outputs, width)
        The model.
    column : ndarray, shape (width,)
        Weights of the columns in the products.
    index : ndarray of int64, shape (m, b)
        Row numbers of the blocks; -1 for no row.
    margins : ndarray, shape (m, b, outputs)
        Set to w x_i; zeros before.
    grams : ndarray, shape (m, b, b)
        Set to Σ_j column_j x_ij x_kj; zeros before.
    """
    for t in range(len(index)):
        for a in range(index.shape[1]):
            i = index[t, a]
            if i < 0:
                continue
            for c in range(len(w)):
                total = 0.0
                for j in range(x.shape[1]):
                    total += x[i, j] * w[c, j]
                margins[t, a, c] = total
            for b in range(a + 1):
                k, total = index[t, b], 0.0
                for j in range(x.shape[1]):
                    total += column[j] * x[i, j] * x[k, j]
                grams[t, a, b] = grams[t, b, a] = total


@njit(fastmath=EXACT, cache=True, nogil=True, error_model="numpy")
def gram_blocks_csr(
    indptr: Integers, indices: Columns, values: Values, w: Matrix, column: Vector, index: Integers, margins: Matrix,
    grams: Matrix,
) -> None:  # fmt: skip
    """Do as `gram_blocks_dense` for CSR rows (n + 1,), (nonzeros,), (nonzeros,) whose columns ascend."""
    for t in range(len(index)):
        for a in range(index.shape[1]):
            i = index[t, a]
            if i < 0:
                continue
            for p in range(indptr[i], indptr[i + 1]):
                for c in range(len(w)):
                    margins[t, a, c] += values[p] * w[c, indices[p]]
            for b in range(a + 1):
                grams[t, a, b] = grams[t, b, a] = _product(indptr, indices, values, column, i, index[t, b])


@njit(fastmath=EXACT, error_model="numpy")
def _product(indptr: Integers, indices: Columns, values: Values, column: Vector, i: int, k: int) -> float:
    """Compute Σ_j column_j x_ij x_kj of two rows whose columns ascend."""
    p, q, total = indptr[i], indptr[k], 0.0
    while p < indptr[i + 1] and q < indptr[k + 1]:
        if indices[p] == indices[q]:
            total += column[indices[p]] * values[p] * values[q]
            p, q = p + 1, q + 1
        elif indices[p] < indices[q]:
            p += 1
        else:
            q += 1
    return total
