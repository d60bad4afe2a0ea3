"""Products of a Hessian with a direction: one pass that also keeps the direction's margins.

Row i has the curvature c_i with one output, and c_i (diag(q_i) − q_i q_iᵀ) with several, q_i the class probabilities.
The margins P x_i of the direction let a line search along it do without the rows. The passes read rows as those of
`mpiopt.kernels.dense` and `mpiopt.kernels.csr` do.
"""

from __future__ import annotations

import numpy as np

from mpiopt.kernels.arrays import CsrArrays, Matrix, Values, Vector
from mpiopt.kernels.csr import block_length, block_margins, block_space, block_sum, entry
from mpiopt.kernels.dense import BLOCK, accumulate, prefetch_rows
from mpiopt.kernels.dense import margins as dense_margins
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import EXACT, FAST

_AHEAD_BLOCKS = 2  # blocks of dense rows that are prefetched


@njit(fastmath=EXACT, error_model="numpy")
def _bend(c: float, q: Matrix, i: int, z: Vector, first: int, outputs: int, e: Vector) -> None:
    """Write the curvature of row i times its margins z[first:first + outputs] to the same places of e."""
    if outputs == 1:
        e[first] = c * z[first]
        return
    surest = 0
    for k in range(1, outputs):
        if q[i, k] > q[i, surest]:
            surest = k
    at = z[first + surest]
    mean = 0.0  # of the distances from the surest class: where q is nearly 1 nothing cancels
    for k in range(outputs):
        mean += q[i, k] * (z[first + k] - at)
    for k in range(outputs):
        e[first + k] = c * q[i, k] * ((z[first + k] - at) - mean)


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def product_dense(x: Values, c: Vector, q: Matrix, p: Matrix, total: Matrix, table: Matrix) -> None:
    """Add Σ_i (C_i P x_i) x_iᵀ to `total`, C_i the curvature of row i, and write P x_i to `table`.

    Parameters
    ----------
    x : ndarray, shape (n, width)
        Rows; width is a multiple of 8.
    c : ndarray, shape (n,)
        Curvatures.
    q : ndarray, shape (n, outputs), or (0, 1) with one output
        Class probabilities.
    p, total : ndarray, shape (outputs, width)
        The direction, and where the product is added.
    table : ndarray, shape (n, outputs)
        Filled with the margins of the direction.
    """
    n, outputs = x.shape[0], p.shape[0]
    z, e = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs)
    for k in range(0, n, BLOCK):
        count = min(BLOCK, n - k)
        prefetch_rows(x, k + _AHEAD_BLOCKS * BLOCK, BLOCK)
        for o in range(outputs):
            dense_margins(x, k, n - 1, p, o, z, outputs)
        e[:] = 0.0
        for b in range(count):
            for o in range(outputs):
                table[k + b, o] = z[b * outputs + o]
            _bend(c[k + b], q, k + b, z, b * outputs, outputs, e)
        for o in range(outputs):
            accumulate(x, k, n - 1, e, o, outputs, total)


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def product_csr(rows: CsrArrays, c: Vector, q: Matrix, p: Matrix, total: Matrix, table: Matrix) -> None:
    """Do as `product_dense` for CSR rows; p and total have the form of w and gradient of `csr.pass_csr`."""
    indptr, indices, values = rows.indptr, rows.indices, rows.values
    n, outputs, length = len(indptr) - 1, table.shape[1], block_length(indptr)
    z, e = block_space(length, outputs), block_space(length, outputs)
    flat = table.reshape(table.size)
    for k in range(0, n, length):
        count = min(length, n - k)
        block_margins(indptr, indices, values, k, count, p, outputs, z)
        flat[k * outputs : (k + count) * outputs] = z[: count * outputs]
        if outputs == 1:
            for b in range(count):
                e[np.uint64(b)] = entry(c, k + b) * entry(z, b)
        else:
            for b in range(count):
                _bend(c[k + b], q, k + b, z, b * outputs, outputs, e)
        block_sum(indptr, indices, values, k, count, e, outputs, total)
