"""Squares of the stored numbers, summed along rows or down columns, and counts of them: one read of the rows each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.csr import place
from mpiopt.kernels.loss_block import EXACT, FAST


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def norms_dense(x: Any, column: Any, out: Any) -> None:
    """Put Σ_j column_j x_ij² into out[i]."""
    for i in range(x.shape[0]):
        row, total = x[i], 0.0
        for j in range(x.shape[1]):
            value = np.float64(row[j])
            total += value * value * column[j]
        out[i] = total


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def columns_dense(x: Any, c: Any, out: Any) -> None:
    """Add Σ_i c_i x_ij² to out[j]."""
    for i in range(x.shape[0]):
        row, one = x[i], c[i]
        for j in range(x.shape[1]):
            value = np.float64(row[j])
            out[j] += one * value * value


@njit(fastmath=EXACT, error_model="numpy")
def _term(indices: Any, values: Any, column: Any, p: int) -> Any:
    value = np.float64(values[p])
    return value * value * column[place(indices[p], 1, 0)]


@njit(fastmath=EXACT, cache=True, nogil=True, error_model="numpy")
def norms_csr(indptr: Any, indices: Any, values: Any, column: Any, out: Any) -> None:
    """Put Σ_j column_j x_ij² into out[i]; in four sums, as `sparse.margin` does and for its reason."""
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
def columns_csr(indptr: Any, indices: Any, values: Any, c: Any, out: Any) -> None:
    """Add Σ_i c_i x_ij² to out[j]."""
    for i in range(len(c)):
        one = c[i]
        for p in range(indptr[i], indptr[i + 1]):
            value = np.float64(values[p])
            out[place(indices[p], 1, 0)] += one * value * value


@njit(cache=True, nogil=True, error_model="numpy")
def count(indices: Any, out: Any) -> None:
    """Add to out[j] how often j is among the indices."""
    for p in range(len(indices)):
        out[place(indices[p], 1, 0)] += 1
