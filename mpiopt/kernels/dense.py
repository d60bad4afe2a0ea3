"""Dense rows: one pass that computes the sum of a loss and its gradient, in blocks of 8 rows.

A block is read from memory once: its 8 margins are computed side by side, the loss is called on the block, and the
block, now in the cache, is added to the gradient. Rows past the end repeat the last one with slope 0.
`mpiopt.kernels.csr` is the twin for CSR rows.
"""

from __future__ import annotations

import numpy as np

from mpiopt.kernels.arrays import Matrix, Values, Vector
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import FAST, call_block, prefetch

BLOCK = 8  # rows whose margins are computed side by side
_AHEAD = 2  # blocks that are prefetched before they are needed: hides the latency of memory


@njit(fastmath=FAST, error_model="numpy")
def prefetch_rows(x: Values, first: int, count: int) -> None:
    """Prefetch `count` rows from `first` on; those past the end are left out."""
    width = x.shape[1]
    start = min(first, x.shape[0]) * width
    for p in range(start, min(first + count, x.shape[0]) * width, 64 // x.itemsize):
        prefetch(x, p)


@njit(fastmath=FAST, error_model="numpy")
def margins(x: Values, k: int, last: int, w: Matrix, c: int, z: Vector, outputs: int) -> None:
    """Write x[k + b] · w[c] to z[b * outputs + c] for b = 0 … 7; row numbers stop at `last`."""
    i1, i2, i3, i4 = min(k + 1, last), min(k + 2, last), min(k + 3, last), min(k + 4, last)
    i5, i6, i7 = min(k + 5, last), min(k + 6, last), min(k + 7, last)
    z0 = z1 = z2 = z3 = z4 = z5 = z6 = z7 = 0.0
    x0, x1, x2, x3, x4, x5, x6, x7 = x[k], x[i1], x[i2], x[i3], x[i4], x[i5], x[i6], x[i7]
    weights = w[c]
    for j in range(x.shape[1]):
        wj = weights[j]
        z0 += x0[j] * wj
        z1 += x1[j] * wj
        z2 += x2[j] * wj
        z3 += x3[j] * wj
        z4 += x4[j] * wj
        z5 += x5[j] * wj
        z6 += x6[j] * wj
        z7 += x7[j] * wj
    z[c] = z0
    z[outputs + c] = z1
    z[2 * outputs + c] = z2
    z[3 * outputs + c] = z3
    z[4 * outputs + c] = z4
    z[5 * outputs + c] = z5
    z[6 * outputs + c] = z6
    z[7 * outputs + c] = z7


@njit(fastmath=FAST, error_model="numpy")
def accumulate(x: Values, k: int, last: int, e: Vector, c: int, outputs: int, gradient: Matrix) -> None:
    """Add Σ_b e[b * outputs + c] x[k + b] to gradient[c]."""
    i1, i2, i3, i4 = min(k + 1, last), min(k + 2, last), min(k + 3, last), min(k + 4, last)
    i5, i6, i7 = min(k + 5, last), min(k + 6, last), min(k + 7, last)
    e0, e1, e2, e3 = e[c], e[outputs + c], e[2 * outputs + c], e[3 * outputs + c]
    e4, e5, e6, e7 = e[4 * outputs + c], e[5 * outputs + c], e[6 * outputs + c], e[7 * outputs + c]
    x0, x1, x2, x3, x4, x5, x6, x7 = x[k], x[i1], x[i2], x[i3], x[i4], x[i5], x[i6], x[i7]
    total = gradient[c]
    for j in range(x.shape[1]):
        low = e0 * x0[j] + e1 * x1[j] + e2 * x2[j] + e3 * x3[j]
        total[j] += low + (e4 * x4[j] + e5 * x5[j] + e6 * x6[j] + e7 * x7[j])


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def pass_dense(
    x: Values,
    y: Vector,
    s: Vector,
    w: Matrix,
    gradient: Matrix,
    table: Matrix,
    value_address: int,
    slope_address: int,
) -> float:
    """Compute Σ s_i loss_i(w x_i) and add Σ s_i loss_i' x_iᵀ to `gradient`.

    Parameters
    ----------
    x : ndarray, shape (n, width)
        Rows; width is a multiple of 8.
    y, s : ndarray, shape (n,)
        Labels and weights; y is (n, 2) where each label has an offset beside it (`loss_block.call_block`).
    w, gradient : ndarray, shape (outputs, width)
        The model, and where its gradient is added.
    table : ndarray, shape (n, outputs) or (0, outputs)
        Filled with the slopes s_i loss_i', unless it has no rows.
    value_address, slope_address : int
        Addresses of the loss's block functions (`mpiopt.kernels.loss_block.address`).

    Returns
    -------
    float
        The sum.
    """
    n, outputs = x.shape[0], w.shape[0]
    z, e, values = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs), np.empty(BLOCK)
    total = 0.0
    for k in range(0, n, BLOCK):
        count = min(BLOCK, n - k)
        prefetch_rows(x, k + _AHEAD * BLOCK, BLOCK // 2)
        for c in range(outputs):
            margins(x, k, n - 1, w, c, z, outputs)
        call_block(value_address, z, y, k, values, count, outputs)
        call_block(slope_address, z, y, k, e, count, outputs)
        prefetch_rows(x, k + _AHEAD * BLOCK + BLOCK // 2, BLOCK // 2)
        part = 0.0
        for b in range(count):
            part += s[k + b] * values[b]
            for c in range(outputs):
                e[b * outputs + c] *= s[k + b]
                if table.shape[0]:
                    table[k + b, c] = e[b * outputs + c]
        total += part
        for q in range(count * outputs, BLOCK * outputs):
            e[q] = 0.0
        for c in range(outputs):
            accumulate(x, k, n - 1, e, c, outputs, gradient)
    return total
