"""CSR rows: one pass that gives the sum of a loss and its gradient.

Weights and gradient are laid out by feature, (width, outputs): the outputs of one feature share a cache line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.block import FAST, call_block

BLOCK = 8


@njit(fastmath=FAST, error_model="numpy")
def _margins(indptr: Any, indices: Any, values: Any, i: int, w: Any, z: Any, place: int) -> None:
    """Put w x_i into z[place:place + outputs]."""
    outputs = w.shape[1]
    if outputs == 1:
        total = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            total += values[p] * w[indices[p], 0]
        z[place] = total
        return
    z[place : place + outputs] = 0.0
    for p in range(indptr[i], indptr[i + 1]):
        for c in range(outputs):
            z[place + c] += values[p] * w[indices[p], c]


@njit(fastmath=FAST, error_model="numpy")
def _accumulate(indptr: Any, indices: Any, values: Any, i: int, e: Any, place: int, gradient: Any) -> None:
    """Add e[place + c] x_i to gradient[:, c]."""
    outputs = gradient.shape[1]
    if outputs == 1:
        one = e[place]
        for p in range(indptr[i], indptr[i + 1]):
            gradient[indices[p], 0] += one * values[p]
        return
    for p in range(indptr[i], indptr[i + 1]):
        for c in range(outputs):
            gradient[indices[p], c] += e[place + c] * values[p]


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def pass_csr(
    indptr: Any,
    indices: Any,
    values: Any,
    y: Any,
    s: Any,
    w: Any,
    gradient: Any,
    table: Any,
    value_address: int,
    slope_address: int,
) -> float:
    """Give Σ s_i loss_i(w x_i); add Σ s_i loss_i' x_i to `gradient` (width, outputs); w is (width, outputs).

    `table` (n, outputs) is filled with s_i loss_i' unless its length is 0.
    """
    n, outputs = len(indptr) - 1, w.shape[1]
    z, e, of_rows = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs), np.empty(BLOCK)
    total = 0.0
    for k in range(0, n, BLOCK):
        count = min(BLOCK, n - k)
        for b in range(count):
            _margins(indptr, indices, values, k + b, w, z, b * outputs)
        call_block(value_address, z, y, k, of_rows, count, outputs)
        call_block(slope_address, z, y, k, e, count, outputs)
        part = 0.0
        for b in range(count):
            part += s[k + b] * of_rows[b]
            for c in range(outputs):
                e[b * outputs + c] *= s[k + b]
                if table.shape[0]:
                    table[k + b, c] = e[b * outputs + c]
            _accumulate(indptr, indices, values, k + b, e, b * outputs, gradient)
        total += part
    return total


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def gram_csr(indptr: Any, indices: Any, values: Any, c: Any, out: Any) -> None:
    """Add the upper triangle of Σ c_i x_i x_iᵀ to `out` (width, width)."""
    for i in range(len(c)):
        for p in range(indptr[i], indptr[i + 1]):
            one = c[i] * values[p]
            for q in range(p, indptr[i + 1]):
                out[indices[p], indices[q]] += one * values[q]
