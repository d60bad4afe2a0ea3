"""Scale columns by statistics over all ranks, with the same bits on any number of ranks.

Sums are kept as integers of 62 bits below the column's largest entry, which add up exactly in any order. The variance
is taken about the mean, in a second pass.
"""

from __future__ import annotations

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Vector
from mpiopt.kernels import row_moves

LIMB_BITS = 31  # of each of the two integers that hold a sum
PIECE = 1 << 20  # entries that are divided at a time: their divisors are a copy
NO_SPREAD = 1e-14  # a standard deviation below this fraction of the mean is rounding error


def _largest(rows: Rows, mean: Vector, power: int, comm: Comm) -> Vector:
    largest = np.zeros(len(mean))
    if isinstance(rows, CsrRows):
        row_moves.largest_csr(rows.indices, rows.values, mean, power, largest)
    else:
        row_moves.largest_dense(rows.values, mean, power, largest)
    return np.asarray(comm.max(largest))


def exact_sums(rows: Rows, mean: Vector, power: int, comm: Comm) -> Vector:
    """Return the sum of (x - mean)^power over the stored values of each column and all ranks; collective.

    Parameters
    ----------
    rows : DenseRows or CsrRows
        This rank's rows.
    mean : ndarray of float64, shape (columns,)
        What is subtracted from each column.
    power : int
        1 or 2.
    comm : Comm
        The ranks that share the rows.

    Returns
    -------
    ndarray of float64, shape (columns,)
        The sums, rounded once.
    """
    exponent = np.frexp(_largest(rows, mean, power, comm))[1]
    limbs = np.zeros((2, len(mean)), np.int64)
    factor = np.ldexp(1.0, LIMB_BITS - exponent)
    if isinstance(rows, CsrRows):
        row_moves.limbs_csr(rows.indices, rows.values, mean, power, factor, limbs[0], limbs[1])
    else:
        row_moves.limbs_dense(rows.values, mean, power, factor, limbs[0], limbs[1])
    high, low = comm.sum(limbs)
    return np.asarray(np.ldexp(high + low / 2.0**LIMB_BITS, exponent - LIMB_BITS))


def statistics(kind: str, rows: Rows, features: int, total: int, comm: Comm) -> tuple[Vector, Vector]:
    """Return mean and scale of the features: the column used is (x - mean) / scale; collective.

    Sparse rows are never centred. Columns without spread keep the scale 1.

    Parameters
    ----------
    kind : str
        "none", "standard", "maxabs" or "unit-rows".
    rows : DenseRows or CsrRows
        This rank's rows; an intercept's column may be stored, as zeros.
    features : int
        Number of features, d.
    total : int
        Rows over all ranks.
    comm : Comm
        The ranks that share the rows.

    Returns
    -------
    mean, scale : ndarray of float64, shape (d,)
        Zeros and ones where nothing is scaled.
    """
    columns = features + 1 if isinstance(rows, CsrRows) else features
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
        scale[scale <= NO_SPREAD * np.abs(mean)] = 0.0
        mean = np.zeros(columns) if isinstance(rows, CsrRows) else mean
    scale[scale == 0] = 1.0
    return mean[:features], scale[:features]


def apply(kind: str, rows: Rows, mean: Vector, scale: Vector) -> None:
    """Scale rows in place by the mean and scale that `statistics` returned."""
    if kind == "unit-rows":
        if isinstance(rows, CsrRows):
            row_moves.unit_rows_csr(rows.indptr, rows.values)
        else:
            row_moves.unit_rows_dense(rows.values, len(mean))
    elif kind != "none" and isinstance(rows, CsrRows):
        by = np.append(scale, 1.0)
        for a in range(0, len(rows.values), PIECE):
            rows.values[a : a + PIECE] /= by[rows.indices[a : a + PIECE]]
    elif kind != "none":
        rows.values[:, : len(mean)] -= mean
        rows.values[:, : len(mean)] /= scale


def weight_factor(weight: Vector, total: int, comm: Comm) -> float:
    """Return the factor that makes the mean of `total` weights 1, the same bits on any number of ranks; collective.

    Raises
    ------
    ValueError
        If all weights are zero, or their sum is too large or too small for the factor to be finite.
    """
    largest = float(comm.max(np.array([weight.max(initial=0.0)]))[0])
    with np.errstate(over="ignore", invalid="ignore"):
        whole = total_weight(weight, comm)
        factor = float(np.divide(total, whole)) if whole > 0 else np.inf
    if largest == 0:
        raise ValueError("all weights are zero; at least one must be above")
    if not (np.isfinite(whole) and np.isfinite(factor)):
        size = "large" if largest > 1 else "small"
        raise ValueError(f"the weights are too {size}: the largest is {largest:g}; only their ratios matter")
    return factor


def total_weight(weight: Vector, comm: Comm) -> float:
    """Return the sum of the weights of all ranks, the same bits on any number of ranks; collective."""
    return float(exact_sums(DenseRows(weight[:, None]), np.zeros(1), 1, comm)[0])
