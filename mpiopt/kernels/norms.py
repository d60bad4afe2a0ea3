"""Sums of squares of the stored numbers along rows or down columns, and counts; the rows are read once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.arrays import Columns, Integers, Values, Vector
from mpiopt.kernels.csr import place
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
    value = np.float64(values[p])
    return value * value * column[place(indices[p], 1, 0)]


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
            value = np.float64(values[p])
            out[place(indices[p], 1, 0)] += one * value * value


@njit(cache=True, nogil=True, error_model="numpy")
def count(indices: Columns, out: Integers) -> None:
    """Add to out[j] how often j is among the indices; out (width,)."""
    for p in range(len(indices)):
        out[place(indices[p], 1, 0)] += 1
