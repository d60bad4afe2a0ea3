"""Rows that are copied, permuted, converted between dense and CSR, hashed, and summed up for scaling.

CSR rows are (indptr (n + 1,), indices (nonzeros,), values (nonzeros,)), dense rows are values (n, width). If a kernel
exists for both, the two give the same result for the same content.
"""

from __future__ import annotations

import numpy as np

from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.random_words import mixed

_IN_ANY_ORDER = {"nsz", "reassoc"}  # a sum that is a vector: one by one, its additions take longer than the copy
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def hashes(start, n, seed):  # type: ignore[no-untyped-def]
    """Return a 64-bit hash of each of the numbers start … start + n - 1, shape (n,)."""
    out = np.empty(n, np.uint64)
    for i in range(n):
        out[i] = mixed(mixed(np.uint64(start + i) + _GOLDEN) ^ np.uint64(seed))
    return out


@njit(cache=True, nogil=True)
def ascending(draws):  # type: ignore[no-untyped-def]
    """Sort numbers that are spread evenly over all of 64 bits, in linear time.

    Each goes to the bucket of its leading bits, of which there are as many as numbers; then neighbours are exchanged.

    Parameters
    ----------
    draws : ndarray of uint64, shape (n,)
        The numbers.

    Returns
    -------
    order : ndarray of int64, shape (n,)
        The positions of the numbers, the least first.
    values : ndarray of uint64, shape (n,)
        The numbers, ascending.
    """
    n, bits = len(draws), 1
    while (1 << bits) < n:
        bits += 1
    shift = np.uint64(64 - bits)
    begin = np.zeros((1 << bits) + 1, np.int64)
    for i in range(n):
        begin[np.int64(draws[i] >> shift) + 1] += 1
    for k in range(1 << bits):
        begin[k + 1] += begin[k]
    order, values = np.empty(n, np.int64), np.empty(n, np.uint64)
    for i in range(n):
        bucket = np.int64(draws[i] >> shift)
        order[begin[bucket]], values[begin[bucket]] = i, draws[i]
        begin[bucket] += 1
    for i in range(1, n):
        row, value, j = order[i], values[i], i
        while j > 0 and values[j - 1] > value:
            order[j], values[j] = order[j - 1], values[j - 1]
            j -= 1
        order[j], values[j] = row, value
    return order, values


@njit(cache=True, nogil=True)
def feistel(numbers, total, seed):  # type: ignore[no-untyped-def]
    """Permute 0 … total - 1 pseudo-randomly, point by point: a Feistel network of 6 rounds with cycle walking.

    Parameters
    ----------
    numbers : ndarray of int64, shape (n,)
        The points wanted.
    total : int
        The size of the permutation.
    seed : int
        The draw.

    Returns
    -------
    ndarray of int64, shape (n,)
        Where the points go.
    """
    half = 1
    while np.int64(1) << (2 * half) < total:
        half += 1
    shift, mask = np.uint64(half), (np.uint64(1) << np.uint64(half)) - np.uint64(1)
    out = np.empty(len(numbers), np.int64)
    for i in range(len(numbers)):
        x = np.uint64(numbers[i])
        while True:
            left, right = x >> shift, x & mask
            for turn in range(6):
                key = np.uint64(seed) + np.uint64(turn) * _GOLDEN
                left, right = right, left ^ (mixed(right ^ key) & mask)
            x = (left << shift) | right
            if x < np.uint64(total):
                break
        out[i] = np.int64(x)
    return out


@njit(cache=True, nogil=True)
def checksum_csr(start, label_bits, weight_bits, indptr, indices, bits):  # type: ignore[no-untyped-def]
    """Sum, modulo 2⁶⁴, a hash of (row number, label, weight, nonzeros) over CSR rows.

    Parameters
    ----------
    start : int
        Number of the first row.
    label_bits, weight_bits : ndarray of uint64, shape (n,)
        The bits of labels and weights.
    indptr, indices : ndarray, shapes (n + 1,), (nonzeros,)
        Where the values stand.
    bits : ndarray of uint64, shape (nonzeros,)
        The bits of the values.

    Returns
    -------
    uint64
    """
    total = np.uint64(0)
    for i in range(len(label_bits)):
        h = mixed(np.uint64(start + i) + _GOLDEN)
        h = mixed(h ^ label_bits[i]) + weight_bits[i]
        for q in range(indptr[i], indptr[i + 1]):
            if bits[q] << np.uint64(1) != np.uint64(0):
                h = mixed(h + bits[q] + _GOLDEN * np.uint64(indices[q] + 1))
        total += mixed(h)
    return total


@njit(cache=True, nogil=True)
def checksum_dense(start, label_bits, weight_bits, bits):  # type: ignore[no-untyped-def]
    """Do as `checksum_csr` for dense rows, bits (n, width); the same content gives the same sum."""
    total = np.uint64(0)
    for i in range(len(label_bits)):
        h = mixed(np.uint64(start + i) + _GOLDEN)
        h = mixed(h ^ label_bits[i]) + weight_bits[i]
        for k in range(bits.shape[1]):
            if bits[i, k] << np.uint64(1) != np.uint64(0):
                h = mixed(h + bits[i, k] + _GOLDEN * np.uint64(k + 1))
        total += mixed(h)
    return total


@njit(cache=True, nogil=True)
def gather(order, indptr, indices, values, starts, out_indices, out_values):  # type: ignore[no-untyped-def]
    """Copy CSR rows to given places.

    Parameters
    ----------
    order : ndarray of int64, shape (m,)
        Numbers of the rows.
    indptr, indices, values : ndarray, shapes (n + 1,), (nonzeros,), (nonzeros,)
        The rows.
    starts : ndarray of int64, shape (m,)
        Where the nonzeros of row order[j] begin in the output.
    out_indices, out_values : ndarray
        The output; written.
    """
    for j in range(len(order)):
        begin, end, q = indptr[order[j]], indptr[order[j] + 1], starts[j]
        of_row, of_values = indices[begin:end], values[begin:end]
        to, to_values = out_indices[q : q + end - begin], out_values[q : q + end - begin]
        for k in range(len(of_row)):  # slices indexed from 0: LLVM makes the loop a copy
            to[k] = of_row[k]
            to_values[k] = of_values[k]


@njit(fastmath=_IN_ANY_ORDER, cache=True, nogil=True)
def copy_dense(order, x, out):  # type: ignore[no-untyped-def]
    """Copy rows order[0], order[1] … of x to `out`, which may be wider; return whether all are finite.

    One pass: to look at the copies afterwards would read them from memory again.
    """
    finite = True
    for i in range(len(order)):
        row, to, rest = x[order[i]], out[i], 0.0
        for k in range(len(row)):
            to[k] = row[k]
            rest += abs(row[k] - row[k])  # nan where the number is nan or infinite, else 0
        finite &= rest == 0.0
    return finite


@njit(cache=True, nogil=True)
def scatter(rows, places, out):  # type: ignore[no-untyped-def]
    """Write row i of `rows` (n, width) to row places[i] of `out`, which may be wider."""
    for i in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            out[places[i], k] = rows[i, k]


@njit(cache=True, nogil=True)
def spread(indptr, indices, values, out):  # type: ignore[no-untyped-def]
    """Write CSR rows to a dense array of zeros (n, width)."""
    for i in range(len(indptr) - 1):
        for q in range(indptr[i], indptr[i + 1]):
            out[i, indices[q]] = values[q]


@njit(cache=True, nogil=True)
def count_nonzeros(values):  # type: ignore[no-untyped-def]
    """Count the nonzeros of each row of a dense array (n, width), shape (n,)."""
    out = np.zeros(values.shape[0], np.int64)
    for i in range(values.shape[0]):
        for k in range(values.shape[1]):
            out[i] += values[i, k] != 0
    return out


@njit(cache=True, nogil=True)
def compress(values, indptr, out_indices, out_values):  # type: ignore[no-untyped-def]
    """Write the nonzeros of dense rows (n, width) to CSR arrays of the sizes in `indptr` (n + 1,)."""
    for i in range(len(indptr) - 1):
        q = indptr[i]
        for k in range(values.shape[1]):
            if values[i, k] != 0:
                out_indices[q] = k
                out_values[q] = values[i, k]
                q += 1


@njit(cache=True, nogil=True)
def largest_dense(values, mean, power, out):  # type: ignore[no-untyped-def]
    """Raise out[k] to the largest |x - mean|^power of column k; values (n, width), mean and out (columns,)."""
    for i in range(values.shape[0]):
        for k in range(len(mean)):
            out[k] = max(out[k], abs(values[i, k] - mean[k]) ** power)


@njit(cache=True, nogil=True)
def largest_csr(indices, values, mean, power, out):  # type: ignore[no-untyped-def]
    """Do as `largest_dense` for stored values."""
    for q in range(len(values)):
        k = indices[q]
        out[k] = max(out[k], abs(values[q] - mean[k]) ** power)


@njit(cache=True, nogil=True)
def limbs_dense(values, mean, power, factor, high, low):  # type: ignore[no-untyped-def]
    """Add factor · (x - mean)^power to the sum of its column, as integers: the order of the rows does not matter.

    Parameters
    ----------
    values : ndarray, shape (n, width)
        The rows.
    mean, factor : ndarray of float64, shape (columns,)
        Centres of the first columns, and scales of their terms.
    power : int
        1 or 2.
    high, low : ndarray of int64, shape (columns,)
        Added to: the whole parts, and the rest in units of 2⁻³¹.
    """
    for i in range(values.shape[0]):
        for k in range(len(mean)):
            gap = values[i, k] - mean[k]
            t = factor[k] * (gap if power == 1 else gap * gap)
            whole = np.floor(t)
            high[k] += np.int64(whole)
            low[k] += np.int64((t - whole) * 2147483648.0)


@njit(cache=True, nogil=True)
def limbs_csr(indices, values, mean, power, factor, high, low):  # type: ignore[no-untyped-def]
    """Do as `limbs_dense` for stored values."""
    for q in range(len(values)):
        k = indices[q]
        gap = values[q] - mean[k]
        t = factor[k] * (gap if power == 1 else gap * gap)
        whole = np.floor(t)
        high[k] += np.int64(whole)
        low[k] += np.int64((t - whole) * 2147483648.0)


@njit(cache=True, nogil=True)
def unit_rows_dense(values, columns):  # type: ignore[no-untyped-def]
    """Divide each row by its Euclidean norm over the first `columns`; rows of zeros stay."""
    for i in range(values.shape[0]):
        total = 0.0
        for k in range(columns):
            total += values[i, k] * values[i, k]
        if total > 0:
            norm = np.sqrt(total)
            for k in range(columns):
                values[i, k] /= norm


@njit(cache=True, nogil=True)
def unit_rows_csr(indptr, values):  # type: ignore[no-untyped-def]
    """Do as `unit_rows_dense` for CSR rows."""
    for i in range(len(indptr) - 1):
        total = 0.0
        for q in range(indptr[i], indptr[i + 1]):
            total += values[q] * values[q]
        if total > 0:
            norm = np.sqrt(total)
            for q in range(indptr[i], indptr[i + 1]):
                values[q] /= norm
