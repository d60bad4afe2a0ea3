"""Scaling of columns by statistics over all ranks, the same bits on any number of ranks.

Sums are kept as integers of 62 bits below the column's largest entry, which add up exactly in any order; the
variance is taken about the mean, in a second pass.
"""

from __future__ import annotations

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Vector
from mpiopt.kernels import row_moves as kernels


def _largest(rows: Rows, mean: Vector, power: int, comm: Comm) -> Vector:
    largest = np.zeros(len(mean))
    if isinstance(rows, CsrRows):
        kernels.largest_csr(rows.indices, rows.values, mean, power, largest)
    else:
        kernels.largest_dense(rows.values, mean, power, largest)
    return np.asarray(comm.max(largest))


def exact_sums(rows: Rows, mean: Vector, power: int, comm: Comm) -> Vector:
    """Sum (x - mean)^power of the stored values of each column over all ranks; `mean` has one entry a column."""
    exponent = np.frexp(_largest(rows, mean, power, comm))[1]
    limbs = np.zeros((2, len(mean)), np.int64)
    factor = np.ldexp(1.0, 31 - exponent)
    if isinstance(rows, CsrRows):
        kernels.limbs_csr(rows.indices, rows.values, mean, power, factor, limbs[0], limbs[1])
    else:
        kernels.limbs_dense(rows.values, mean, power, factor, limbs[0], limbs[1])
    high, low = comm.sum(limbs)
    return np.asarray(np.ldexp(high + low / 2.0**31, exponent - 31))


def statistics(kind: str, rows: Rows, features: int, total: int, comm: Comm) -> tuple[Vector, Vector]:
    """Give (mean, scale) of the features, (d,) each: the column used is (x - mean) / scale. Collective.

    Sparse rows are never centred. Columns without spread keep scale 1.
    """
    columns = features + 1 if isinstance(rows, CsrRows) else features  # an intercept's column may be stored, as zeros
    mean, scale = np.zeros(columns), np.ones(columns)
    if kind == "maxabs":
        scale = _largest(rows, mean, 1, comm)
    elif kind == "standard":
        mean = exact_sums(rows, mean, 1, comm) / total
        spread = exact_sums(rows, mean, 2, comm)
        if isinstance(rows, CsrRows):
            stored = comm.sum(np.bincount(rows.indices, minlength=columns))
            spread += (total - stored) * mean * mean
        scale = np.sqrt(spread / total)
        scale[scale <= 1e-14 * np.abs(mean)] = 0.0
        mean = np.zeros(columns) if isinstance(rows, CsrRows) else mean
    scale[scale == 0] = 1.0
    return mean[:features], scale[:features]


def apply(kind: str, rows: Rows, mean: Vector, scale: Vector) -> None:
    """Scale rows in place by what `statistics` gave."""
    if kind == "unit-rows":
        if isinstance(rows, CsrRows):
            kernels.unit_rows_csr(rows.indptr, rows.values)
        else:
            kernels.unit_rows_dense(rows.values, len(mean))
    elif kind != "none" and isinstance(rows, CsrRows):
        rows.values[:] /= np.append(scale, 1.0)[rows.indices]
    elif kind != "none":
        rows.values[:, : len(mean)] -= mean
        rows.values[:, : len(mean)] /= scale


def total_weight(weight: Vector, comm: Comm) -> float:
    """Sum the weights of all ranks, the same bits on any number of ranks."""
    return float(exact_sums(DenseRows(weight[:, None]), np.zeros(1), 1, comm)[0])
