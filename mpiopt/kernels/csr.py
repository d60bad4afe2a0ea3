"""CSR rows: one pass that computes the sum of a loss and its gradient.

Weight and gradient of one feature lie side by side in one record, records (width, 2, outputs): a nonzero costs one
cache line for both. `mpiopt.kernels.dense` is the twin for dense rows, which needs no records.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.arrays import Columns, Integers, Matrix, Scalar, Values, Vector
from mpiopt.kernels.loss_block import EXACT, FAST, call_block, prefetch

BLOCK = 8  # rows on which the loss is called at once
_AHEAD = 4  # rows whose records are prefetched before they are needed


@njit(inline="always")
def place(j: Scalar, size: int, k: int) -> Any:
    """Return the flat index of number k in record j of `size` numbers.

    Unsigned: a signed index would be tested for a count from the end.
    """
    return np.uint64(np.uint32(j)) * np.uint64(size) + np.uint64(k)


@njit(fastmath=EXACT, error_model="numpy")
def margin(indptr: Integers, indices: Columns, values: Values, flat: Vector, size: int, i: int) -> float:
    """Compute w x_i for one output, w the first number of each record of `size` numbers.

    In four sums: free to reorder a single one, LLVM would use gather instructions, which are slow.
    """
    first, end = indptr[i], indptr[i + 1]
    whole = first + (end - first) // 4 * 4
    a = b = c = d = 0.0
    for p in range(first, whole, 4):
        a += values[p] * flat[place(indices[p], size, 0)]
        b += values[p + 1] * flat[place(indices[p + 1], size, 0)]
        c += values[p + 2] * flat[place(indices[p + 2], size, 0)]
        d += values[p + 3] * flat[place(indices[p + 3], size, 0)]
    for p in range(whole, end):
        a += values[p] * flat[place(indices[p], size, 0)]
    return (a + b) + (c + d)


@njit(fastmath=FAST, error_model="numpy")
def _margins(
    indptr: Integers, indices: Columns, values: Values, i: int, flat: Vector, outputs: int, z: Vector, first: int
) -> None:
    """Write w x_i to z[first:first + outputs]."""
    if outputs == 1:
        z[first] = margin(indptr, indices, values, flat, 2, i)
        return
    for c in range(outputs):
        z[first + c] = 0.0
    for p in range(indptr[i], indptr[i + 1]):
        for c in range(outputs):
            z[first + c] += values[p] * flat[place(indices[p], 2 * outputs, c)]


@njit(fastmath=FAST, error_model="numpy")
def _accumulate(
    indptr: Integers, indices: Columns, values: Values, i: int, flat: Vector, outputs: int, e: Vector, first: int
) -> None:
    """Add e[first + c] x_i to the gradient of output c."""
    if outputs == 1:
        one = e[first]
        for p in range(indptr[i], indptr[i + 1]):
            flat[place(indices[p], 2, 1)] += one * values[p]
        return
    for p in range(indptr[i], indptr[i + 1]):
        for c in range(outputs):
            flat[place(indices[p], 2 * outputs, outputs + c)] += e[first + c] * values[p]


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def pass_csr(
    indptr: Integers, indices: Columns, values: Values, y: Vector, s: Vector, records: Matrix, table: Matrix,
    value_address: int, slope_address: int,
) -> float:  # fmt: skip
    """Compute Σ s_i loss_i(w x_i) and add Σ s_i loss_i' x_i to the gradients.

    Parameters
    ----------
    indptr, indices, values : ndarray, shapes (n + 1,), (nonzeros,), (nonzeros,)
        n rows x_i.
    y, s : ndarray, shape (n,)
        Labels and weights.
    records : ndarray, shape (width, 2, outputs)
        The model in records[:, 0], the gradient in records[:, 1].
    table : ndarray, shape (n, outputs) or (0, outputs)
        Filled with the slopes s_i loss_i', unless it has no rows.
    value_address, slope_address : int
        Addresses of the loss's block functions (`mpiopt.kernels.loss_block.address`).

    Returns
    -------
    float
        The sum.
    """
    n, outputs = len(indptr) - 1, records.shape[2]
    flat = records.reshape(records.size)
    z, e, of_rows = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs), np.empty(BLOCK)
    total = 0.0
    for k in range(0, n, BLOCK):
        count = min(BLOCK, n - k)
        for b in range(count):
            ahead = min(k + b + _AHEAD, n - 1)
            for p in range(indptr[ahead], indptr[ahead + 1]):
                prefetch(flat, np.int64(indices[p]) * 2 * outputs)
            _margins(indptr, indices, values, k + b, flat, outputs, z, b * outputs)
        call_block(value_address, z, y, k, of_rows, count, outputs)
        call_block(slope_address, z, y, k, e, count, outputs)
        part = 0.0
        for b in range(count):
            part += s[k + b] * of_rows[b]
            for c in range(outputs):
                e[b * outputs + c] *= s[k + b]
                if table.shape[0]:
                    table[k + b, c] = e[b * outputs + c]
            _accumulate(indptr, indices, values, k + b, flat, outputs, e, b * outputs)
        total += part
    return total
