"""Least and largest entries, sums and moments of columns, and their change of coordinates.

Sums are added as integers, as in `row_moves.limbs_dense`: the order of the rows does not matter. Dense kernels take
values (n, width) and look at as many columns as their other arguments have; CSR kernels look at stored entries.
Rows of weight 0 do not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpiopt.kernels.csr import entry, place
from mpiopt.kernels.kernel_cache import njit

LIMB = 2147483648.0  # 2³¹: the second of the two integers of a sum counts in units of 2⁻³¹


@njit(cache=True, nogil=True)
def extent_dense(values: Any, weight: Any, low: Any, high: Any) -> None:
    """Lower low[k] and raise high[k] to the least and the largest entry of column k."""
    for i in range(values.shape[0]):
        if weight[i] > 0.0:
            for k in range(len(low)):
                x = np.float64(values[i, k])
                low[k] = min(low[k], x)
                high[k] = max(high[k], x)


@njit(cache=True, nogil=True)
def extent_csr(indptr: Any, indices: Any, values: Any, weight: Any, low: Any, high: Any, stored: Any) -> None:
    """Do as `extent_dense` for stored entries; add the number of entries, whatever their weight, to stored[k]."""
    for i in range(len(indptr) - 1):
        for q in range(indptr[i], indptr[i + 1]):
            k, x = place(entry(indices, q), 1, 0), np.float64(entry(values, q))
            stored[k] += 1
            if weight[i] > 0.0:
                low[k] = min(low[k], x)
                high[k] = max(high[k], x)


@njit(nogil=True)
def _add(limbs: Any, k: int, term: float) -> None:
    """Add a term below 2³¹ to the sum of column k, kept as two integers."""
    whole = np.floor(term)
    limbs[0, k] += np.int64(whole)
    limbs[1, k] += np.int64((term - whole) * LIMB)


@njit(cache=True, nogil=True)
def sums_dense(values: Any, weight: Any, centre: Any, inverse: Any, limbs: Any) -> None:
    """Add weight · t to the sum of its column, where t = (x - centre) · inverse lies between -1 and 1.

    Parameters
    ----------
    values : ndarray, shape (n, width)
        The rows.
    weight : ndarray of float64, shape (n,)
        Weights of the rows, below 2³¹.
    centre, inverse : ndarray of float64, shape (columns,)
        Of each column; `inverse` is a power of two: a product is exact, and takes a third of the time of a division.
    limbs : ndarray of int64, shape (2, columns)
        The whole parts, and the rest in units of 2⁻³¹; added to.
    """
    for i in range(values.shape[0]):
        if weight[i] > 0.0:
            for k in range(len(centre)):
                _add(limbs, k, weight[i] * ((np.float64(values[i, k]) - centre[k]) * inverse[k]))


@njit(cache=True, nogil=True)
def sums_csr(indptr: Any, indices: Any, values: Any, weight: Any, centre: Any, inverse: Any, limbs: Any) -> None:
    """Do as `sums_dense` for stored entries."""
    for i in range(len(indptr) - 1):
        if weight[i] > 0.0:
            for q in range(indptr[i], indptr[i + 1]):
                k = place(entry(indices, q), 1, 0)
                _add(limbs, k, weight[i] * ((np.float64(entry(values, q)) - centre[k]) * inverse[k]))


@njit(cache=True, nogil=True)
def moments_dense(values: Any, weight: Any, centre: Any, inverse: Any, second: Any, fourth: Any) -> None:
    """Do as `sums_dense` with weight · t² and weight · t⁴."""
    for i in range(values.shape[0]):
        if weight[i] > 0.0:
            for k in range(len(centre)):
                t = (np.float64(values[i, k]) - centre[k]) * inverse[k]
                _add(second, k, weight[i] * (t * t))
                _add(fourth, k, weight[i] * (t * t * (t * t)))


@njit(cache=True, nogil=True)
def moments_csr(
    indptr: Any, indices: Any, values: Any, weight: Any, centre: Any, inverse: Any, second: Any, fourth: Any
) -> None:
    """Do as `moments_dense` for stored entries."""
    for i in range(len(indptr) - 1):
        if weight[i] > 0.0:
            for q in range(indptr[i], indptr[i + 1]):
                k = place(entry(indices, q), 1, 0)
                t = (np.float64(entry(values, q)) - centre[k]) * inverse[k]
                _add(second, k, weight[i] * (t * t))
                _add(fourth, k, weight[i] * (t * t * (t * t)))


@njit(cache=True, nogil=True, error_model="numpy")
def move_dense(values: Any, centre: Any, scale: Any) -> None:
    """Replace each entry by (x - centre)/scale, computed in float64.

    The error model of numpy: a test of each scale for 0 would cost three times the division.
    """
    for i in range(values.shape[0]):
        for k in range(len(centre)):
            values[i, k] = (np.float64(values[i, k]) - centre[k]) / scale[k]


@njit(cache=True, nogil=True, error_model="numpy")
def move_csr(indices: Any, values: Any, centre: Any, scale: Any) -> None:
    """Do as `move_dense` for stored entries."""
    for q in range(len(values)):
        k = place(entry(indices, q), 1, 0)
        values[q] = (np.float64(entry(values, q)) - centre[k]) / scale[k]


@njit(cache=True, nogil=True)
def centred_margins(indptr: Any, indices: Any, values: Any, centred: Any, coef: Any, centre: Any, out: Any) -> None:
    """Add coef · (x - centre) of CSR rows, where a missing entry counts as x = 0.

    Parameters
    ----------
    indptr, indices, values : ndarray
        n rows; indices ascend within a row.
    centred : ndarray of integers
        The columns whose centre is not 0, ascending.
    coef : ndarray, shape (outputs, d)
        Coefficients.
    centre : ndarray, shape (d,)
        Centres.
    out : ndarray, shape (n, outputs)
        Added to.
    """
    for i in range(len(indptr) - 1):
        q, end = indptr[i], indptr[i + 1]
        for k in centred:
            while q < end and indices[q] < k:
                for c in range(len(coef)):
                    out[i, c] += coef[c, indices[q]] * values[q]
                q += 1
            x = 0.0
            if q < end and indices[q] == k:
                x = np.float64(values[q])
                q += 1
            for c in range(len(coef)):
                out[i, c] += coef[c, k] * (x - centre[k])
        for p in range(q, end):
            for c in range(len(coef)):
                out[i, c] += coef[c, indices[p]] * values[p]


@njit(cache=True, nogil=True)
def lacking(indptr: Any, indices: Any, wanted: Any) -> Any:
    """Count, for each CSR row, the columns `wanted` (ascending) in which it has no entry, shape (n,)."""
    out = np.full(len(indptr) - 1, len(wanted), np.int64)
    for i in range(len(out)):
        k = 0
        for q in range(indptr[i], indptr[i + 1]):
            while k < len(wanted) and wanted[k] < indices[q]:
                k += 1
            out[i] -= k < len(wanted) and wanted[k] == indices[q]
    return out


@njit(cache=True, nogil=True)
def completed(
    indptr: Any, indices: Any, values: Any, wanted: Any, out: Any, out_indices: Any, out_values: Any
) -> None:
    """Copy CSR rows, with a stored 0 in each of the columns `wanted` that a row lacks.

    Parameters
    ----------
    indptr, indices, values : ndarray
        The rows; indices ascend within a row.
    wanted : ndarray of integers
        Columns, ascending.
    out, out_indices, out_values : ndarray
        The rows that are written; `out` has their beginnings.
    """
    for i in range(len(indptr) - 1):
        q, end, at = indptr[i], indptr[i + 1], out[i]
        for k in wanted:
            while q < end and indices[q] < k:
                out_indices[at], out_values[at] = indices[q], values[q]
                q, at = q + 1, at + 1
            if q == end or indices[q] != k:
                out_indices[at], out_values[at] = k, 0.0
                at += 1
        for p in range(q, end):
            out_indices[at], out_values[at] = indices[p], values[p]
            at += 1
