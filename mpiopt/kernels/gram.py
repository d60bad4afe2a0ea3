"""Margins and Gram matrices of blocks of rows: they determine how the loss changes along a block's gradient."""

from __future__ import annotations

from numba import njit

from mpiopt.kernels.arrays import Columns, Integers, Matrix, Values, Vector
from mpiopt.kernels.loss_block import EXACT, FAST


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
