"""CSR rows: the pass that computes the sum of a loss and its gradient, and its two halves.

Rows go in blocks that stay in the cache: the margins of a block, the loss on the whole block (so that its
exponentials are vector instructions), then the block's part of the gradient. A model is an array (width, size): the
outputs of a column lie side by side, `size` is `lanes.padded` of their number, and what fills them up is not read
again. A gradient has one row more, for what the loops write in place of a branch. `mpiopt.kernels.dense` is the twin
for dense rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpiopt.kernels.arrays import Columns, CsrArrays, Integers, Labels, Matrix, Scalar, Values, Vector
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.lanes import NARROW, WIDE, add_narrow, add_wide, dot_narrow, dot_wide
from mpiopt.kernels.loss_block import EXACT, FAST, call_block
from mpiopt.kernels.short_rows import GROUP, add_row, dot_row

ROWS = 256  # of a block at most: enough for vector instructions, and few enough margins for the first-level cache
STORED = 16384  # numbers of a block, about: 200 kB, so that the second half finds them in the second-level cache


@njit(inline="always")
def place(j: Scalar, size: int, k: int) -> Any:
    """Return the flat index of number k in record j of `size` numbers.

    Unsigned: a signed index would be tested for a count from the end.
    """
    return np.uint64(np.uint32(j)) * np.uint64(size) + np.uint64(k)


@njit(inline="always")
def entry(array: Any, p: Scalar) -> Any:
    """Return number p >= 0 of an array, without the test whether p counts from the end: it takes half of the time."""
    return array[np.uint64(p)]


@njit(fastmath=EXACT, error_model="numpy")
def margins(indptr: Integers, indices: Columns, values: Values, k: int, count: int, flat: Vector, z: Vector) -> None:
    """Write w x_i to z for the rows i = k … k + count - 1; one output, w flat (width,).

    The rows are looped over here, because a call for each row would cost as much as the row.
    """
    safe = len(indices) - GROUP + 1
    for i in range(k, k + count):
        first, end, total = entry(indptr, i), entry(indptr, i + 1), 0.0
        if end <= safe:
            total = dot_row(indices, values, flat, first, end)
        else:
            for p in range(first, end):
                total += entry(values, p) * flat[place(entry(indices, p), 1, 0)]
        z[np.uint64(i - k)] = total


@njit(fastmath=EXACT, error_model="numpy")
def add_rows(indptr: Integers, indices: Columns, values: Values, k: int, count: int, e: Vector, flat: Vector) -> None:
    """Add Σ_b e_b x_{k + b}, b = 0 … count - 1, to flat (width + 1,); the last place is written to, too."""
    safe, nowhere = len(indices) - GROUP + 1, np.int32(len(flat) - 1)
    for i in range(k, k + count):
        first, end, one = entry(indptr, i), entry(indptr, i + 1), entry(e, i - k)
        if end <= safe:
            add_row(indices, values, flat, one, first, end, nowhere)
        else:
            for p in range(first, end):
                flat[place(entry(indices, p), 1, 0)] += one * entry(values, p)


@njit(error_model="numpy")
def block_length(indptr: Integers) -> int:
    """Return the number of rows of a block."""
    n = len(indptr) - 1
    length: int = max(1, min(ROWS, STORED * n // max(1, indptr[n] - indptr[0])))
    return length


@njit(error_model="numpy")
def block_space(length: int, outputs: int) -> Any:
    """Return space for a number of each row and output of a block, and for the filling of the last vector."""
    return np.zeros(length * outputs + WIDE)


@njit(fastmath=EXACT, error_model="numpy")
def block_margins(
    indptr: Integers, indices: Columns, values: Values, k: int, count: int, w: Matrix, outputs: int, z: Vector
) -> None:
    """Write the margins of rows k … k + count - 1 to z, those of a row side by side.

    The last vector of a row may reach into the next one's numbers, which are written afterwards.
    """
    flat, size = w.reshape(w.size), w.shape[1]
    if outputs == 1:
        margins(indptr, indices, values, k, count, flat, z)
        return
    for b in range(count):
        first, end = entry(indptr, k + b), entry(indptr, k + b + 1)
        for c in range(0, size - NARROW, WIDE):
            dot_wide(indices, values, flat, z, size, c, first, end, b * outputs + c)
        if size % WIDE:
            c = size - NARROW
            dot_narrow(indices, values, flat, z, size, c, first, end, b * outputs + c)


@njit(fastmath=EXACT, error_model="numpy")
def block_sum(
    indptr: Integers, indices: Columns, values: Values, k: int, count: int, e: Vector, outputs: int, gradient: Matrix
) -> None:
    """Add Σ_b e_b x_{k + b} to the gradient; e has the numbers of a row side by side."""
    flat, size = gradient.reshape(gradient.size), gradient.shape[1]
    if outputs == 1:
        add_rows(indptr, indices, values, k, count, e, flat)
        return
    for b in range(count):
        first, end = entry(indptr, k + b), entry(indptr, k + b + 1)
        for c in range(0, size - NARROW, WIDE):
            add_wide(indices, values, flat, e, size, c, first, end, b * outputs + c)
        if size % WIDE:
            c = size - NARROW
            add_narrow(indices, values, flat, e, size, c, first, end, b * outputs + c)


@njit(cache=True, nogil=True, error_model="numpy")
def to_columns(w: Matrix, columns: Matrix) -> None:
    """Copy a model (outputs, width) to (width, size), filled up with zeros."""
    for j in range(columns.shape[0]):
        for c in range(w.shape[0]):
            columns[np.uint64(j), np.uint64(c)] = w[np.uint64(c), np.uint64(j)]
        for c in range(w.shape[0], columns.shape[1]):
            columns[np.uint64(j), np.uint64(c)] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def to_outputs(columns: Matrix, w: Matrix) -> None:
    """Copy (width + 1, size) to (outputs, width)."""
    for j in range(w.shape[1]):
        for c in range(w.shape[0]):
            w[np.uint64(c), np.uint64(j)] = columns[np.uint64(j), np.uint64(c)]


@njit(fastmath=FAST, error_model="numpy")
def weighted(s: Vector, k: int, count: int, of_rows: Vector, e: Vector, outputs: int) -> float:
    """Return Σ_b s_{k + b} of_rows_b, and multiply the numbers of e by their rows' weights."""
    total = 0.0
    if outputs == 1:
        for b in range(count):
            total += entry(s, k + b) * entry(of_rows, b)
            e[np.uint64(b)] *= entry(s, k + b)
        return total
    for b in range(count):
        total += entry(s, k + b) * entry(of_rows, b)
        for c in range(b * outputs, (b + 1) * outputs):
            e[np.uint64(c)] *= entry(s, k + b)
    return total


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def pass_csr(
    rows: CsrArrays, labels: Labels, w: Matrix, gradient: Matrix, table: Matrix, value_address: int,
    slope_address: int,
) -> float:  # fmt: skip
    """Compute Σ s_i loss_i(w x_i) and add Σ s_i loss_i' x_i to the gradients.

    Parameters
    ----------
    rows : CsrArrays
        n rows x_i.
    labels : Labels
        Labels and weights s_i.
    w : ndarray, shape (width, size)
        The model.
    gradient : ndarray, shape (width + 1, size)
        Where its gradient is added; the last row is written to, too.
    table : ndarray, shape (n, outputs) or (0, outputs)
        Filled with the slopes s_i loss_i', unless it has no rows.
    value_address, slope_address : int
        Addresses of the loss's block functions (`mpiopt.kernels.loss_block.address`).

    Returns
    -------
    float
        The sum.
    """
    indptr, indices, values, y, s = rows.indptr, rows.indices, rows.values, labels.y, labels.weight
    n, outputs, length = len(indptr) - 1, table.shape[1], block_length(indptr)
    z, e, of_rows = block_space(length, outputs), block_space(length, outputs), np.empty(length)
    kept = table.reshape(table.size)
    total = 0.0
    for k in range(0, n, length):
        count = min(length, n - k)
        block_margins(indptr, indices, values, k, count, w, outputs, z)
        call_block(value_address, z, y, k, of_rows, count, outputs)
        call_block(slope_address, z, y, k, e, count, outputs)
        total += weighted(s, k, count, of_rows, e, outputs)
        if table.shape[0]:
            kept[k * outputs : (k + count) * outputs] = e[: count * outputs]
        block_sum(indptr, indices, values, k, count, e, outputs, gradient)
    return total


@njit(fastmath=EXACT, cache=True, nogil=True, error_model="numpy")
def margins_csr(rows: CsrArrays, w: Matrix, table: Matrix) -> None:
    """Write w x_i to table (n, outputs); w as in `pass_csr`."""
    indptr, indices, values = rows.indptr, rows.indices, rows.values
    n, outputs, length = len(indptr) - 1, table.shape[1], block_length(indptr)
    z, flat = block_space(length, outputs), table.reshape(table.size)
    if outputs == 1:
        margins(indptr, indices, values, 0, n, w.reshape(w.size), flat)
        return
    for k in range(0, n, length):
        count = min(length, n - k)
        block_margins(indptr, indices, values, k, count, w, outputs, z)
        flat[k * outputs : (k + count) * outputs] = z[: count * outputs]


@njit(fastmath=EXACT, cache=True, nogil=True, error_model="numpy")
def sum_csr(rows: CsrArrays, table: Matrix, gradient: Matrix) -> None:
    """Add Σ_i table_i x_i, table (n, outputs), to the gradient as in `pass_csr`."""
    indptr, indices, values = rows.indptr, rows.indices, rows.values
    n, outputs, length = len(indptr) - 1, table.shape[1], block_length(indptr)
    e, flat = block_space(length, outputs), table.reshape(table.size)
    if outputs == 1:
        add_rows(indptr, indices, values, 0, n, flat, gradient.reshape(gradient.size))
        return
    for k in range(0, n, length):
        count = min(length, n - k)
        e[: count * outputs] = flat[k * outputs : (k + count) * outputs]
        block_sum(indptr, indices, values, k, count, e, outputs, gradient)
