"""The coordinates in which algorithms work: each column centred and divided by its typical size.

The penalty, the model and the result stay in the units of the columns as they are given (`Shard.column_scale`,
`mpiopt.results.model.in_file_units`). So neither the unit of a column nor an offset changes what an algorithm sees.

* The typical size of a column is √(m₄/m₂), of its moments about the centre: 1.7 standard deviations for a normal
  column, near 1 for a column of 0 and 1 however rare the ones are, the size of an entry for counts and texts.
  Standard deviations would make the rows with a rare entry long, and SAGA's steps as short.
* Columns of sparse rows whose sizes are alike share a scale: texts come with rows of length 1, which a scale for each
  word would make uneven (rcv1, plain SAGA: 50 epochs to 1e-6 instead of 13).
* The centre is the weighted mean, if there is an intercept to take it up. Of sparse rows only those columns are
  centred that every row has: their entries are stored anyway.

Labels that lie far from 0 beside their spread lose an origin, if the intercept can take it up and the loss is a
function of margin - label. Every label that counts is within a factor of 2 of it, so that nothing is rounded.

Rows that come as float32 keep every digit: their scales are powers of two, and only centres that can be taken away
exactly are. All sums are exact, so that coordinates have the same bits on any number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.data.row_formats import empty_csr
from mpiopt.data.scaling import LIMB_BITS, total_weight
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Vector
from mpiopt.kernels import column_moments

LARGEST_SCALE = 2.0**120  # float32 holds it, and its inverse
FAR_LABELS = 64.0  # times their range; below, the origin costs labels no more than 6 of their 53 bits
FAR_COLUMNS = 1e4  # times its range: a column farther from 0 hides its differences in margins, without an intercept
ALIKE = 6.0  # factor from the common size within which a column of sparse rows has the common scale


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The coordinates of the columns: the one used is (x - centre)/scale.

    Parameters
    ----------
    centre : ndarray, shape (d,)
        What is subtracted.
    scale : ndarray, shape (d,)
        By what is divided; float32 holds the inverse, which the kernels of SAGA read.
    label_origin : float
        What is subtracted from the labels, and so from the intercept.
    far : ndarray, shape (d,), optional
        Without an intercept: the middle, after the division, of each column that lies far from 0 beside its range; 0
        elsewhere. Margins are computed from the distances to it. None if there is no such column.

    Examples
    --------
    >>> import numpy as np
    >>> from mpiopt.data.shard import DenseRows
    >>> rows = DenseRows(np.array([[7.0], [3.0]]))
    >>> Coordinates(np.array([5.0]), np.array([2.0])).move(rows).values.tolist()
    [[1.0], [-1.0]]
    """

    centre: Vector
    scale: Vector
    label_origin: float = 0.0
    far: Vector | None = None

    def move(self, rows: Rows) -> Rows:
        """Move rows to these coordinates, in place but for sparse rows without an entry in a column with a centre."""
        if isinstance(rows, DenseRows):
            column_moments.move_dense(rows.values, self.centre, self.scale)
            return rows
        rows = _completed(rows, np.flatnonzero(self.centre))
        beyond = rows.width - len(self.centre)  # the intercept's column
        centre, scale = np.append(self.centre, np.zeros(beyond)), np.append(self.scale, np.ones(beyond))
        column_moments.move_csr(rows.indices, rows.values, centre, scale)
        return rows


def as_given(features: int) -> Coordinates:
    """Return the coordinates that leave the columns as they are."""
    return Coordinates(np.zeros(features), np.ones(features))


def standardised(rows: Rows, weight: Vector, features: int, intercept: bool, comm: Comm) -> Coordinates:
    """Return the coordinates in which columns have the centre 0 and the typical size 1; collective.

    Parameters
    ----------
    rows : DenseRows or CsrRows
        This rank's rows; an intercept's column may be stored.
    weight : ndarray of float64, shape (n,)
        Weights of the rows, at least 0; rows of weight 0 do not count.
    features : int
        Number of columns, d.
    intercept : bool
        Whether there is an intercept, so that columns may be centred.
    comm : Comm
        The ranks that share the rows.

    Returns
    -------
    Coordinates
        The same bits on any number of ranks.
    """
    weight = _in_units(weight, comm)
    low, high, stored, total = _extent(rows, weight, features, comm)
    centre, columns = np.zeros(len(low)), (stored == total) & intercept
    middle = np.where(columns, 0.5 * low + 0.5 * high, 0.0)
    size = np.maximum(high - middle, middle - low)
    unit = np.ldexp(1.0, np.clip(np.frexp(size)[1], -1020, 1020))  # so that its inverse is a float64, too
    if intercept:
        mean = middle + unit * _mean(rows, weight, middle, unit, comm)
        centre = np.where(columns, np.where(low == high, low, mean), 0.0)
    m2, m4 = _moments(rows, weight, centre, 2.0 * unit, comm)
    sparse = isinstance(rows, CsrRows)
    relative = np.sqrt(np.divide(m4, m2, out=np.ones_like(m2), where=m4 > 0.0))
    typical = np.where(size > 0.0, 2.0 * unit * relative, 0.0)
    typical = _with_common(typical, stored) if sparse else typical
    scale = _scale(typical[:features])
    if rows.values.dtype == np.float32:
        centre, scale = _exact_centre(centre, low, high), np.ldexp(1.0, np.rint(np.log2(scale)).astype(np.int64))
    if intercept:
        return Coordinates(centre[:features], scale)
    far = list(_far(low, high, stored == total, features))
    scale[far] = np.ldexp(1.0, np.rint(np.log2(scale[far])).astype(np.int64))  # rounds no entry
    middles = np.zeros(features)
    middles[far] = (0.5 * low + 0.5 * high)[far] / scale[far]
    return Coordinates(centre[:features], scale, far=middles if far else None)


def origin_of_labels(label: Vector, weight: Vector, comm: Comm) -> float:
    """Return the middle of labels that are far from 0 beside their range, else 0; collective.

    Parameters
    ----------
    label, weight : ndarray of float64, shape (n,)
        Labels and weights of this rank's rows; rows of weight 0 do not count.
    comm : Comm
        The ranks that share the rows.

    Returns
    -------
    float
        The same bits on any number of ranks. The difference of a label that counts from it is exact (P. H. Sterbenz
        1974).

    Examples
    --------
    >>> from mpiopt.comm.threads import spmd
    >>> y = np.array([2e9, 2e9 + 4.0])
    >>> spmd(1, lambda comm: origin_of_labels(y, np.ones(2), comm))
    [2000000002.0]
    """
    counted = label[weight > 0.0]
    ends = np.array([-counted.min(initial=np.inf), counted.max(initial=-np.inf)])
    low, high = -float(comm.max(ends)[0]), float(comm.max(ends)[1])
    if not -np.inf < low < high < np.inf:  # equal labels: the best constants are exact
        return 0.0
    middle = 0.5 * low + 0.5 * high
    return middle if abs(middle) >= FAR_LABELS * (high - low) else 0.0


def far_columns(rows: Rows, weight: Vector, features: int, comm: Comm) -> tuple[int, ...]:
    """Return the columns that lie far from 0 beside their range, which only an intercept can centre; collective.

    Examples
    --------
    >>> from mpiopt.comm.threads import spmd
    >>> rows = DenseRows(np.array([[1.0, 1e9, 5.0], [2.0, 1e9 + 1.0, 5.0]]))
    >>> spmd(1, lambda comm: far_columns(rows, np.ones(2), 3, comm))
    [(1,)]
    """
    extent = _extent(rows, weight, features, comm)
    return _far(extent.low, extent.high, extent.stored == extent.total, features)


def _far(low: Vector, high: Vector, full: NDArray[np.bool_], features: int) -> tuple[int, ...]:
    """Return the columns, stored in full, whose middle is far from 0 beside their range."""
    far = (np.abs(0.5 * low + 0.5 * high) >= FAR_COLUMNS * (high - low)) & (low < high) & full
    return tuple(np.flatnonzero(far[:features]).tolist())


def _exact_centre(centre: Vector, low: Vector, high: Vector) -> Vector:
    """Return the centres that float32 rows can lose without rounding, else 0.

    The difference of two numbers that differ by a factor of at most 2 is exact (P. H. Sterbenz 1974). Other columns
    lie no farther from 0 than they are wide.
    """
    rounded = centre.astype(np.float32).astype(np.float64)
    near, far = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
    exact = (low * high > 0.0) & (near >= 0.5 * np.abs(rounded)) & (far <= 2.0 * np.abs(rounded))
    return np.where(exact, rounded, 0.0)


def _in_units(weight: Vector, comm: Comm) -> Vector:
    """Return the weights times the power of two with which the largest of all ranks is just below 2³¹; collective."""
    largest = float(comm.max(np.array([0.0, weight.max(initial=0.0)]))[1])
    return np.asarray(np.ldexp(weight, LIMB_BITS - int(np.frexp(largest)[1])))


class _Extent(NamedTuple):
    """The entries of each column over all ranks; sparse rows have one column more, the intercept's."""

    low: Vector  # the least and the largest; both 0 without any entry
    high: Vector
    stored: NDArray[np.int64]  # number of entries
    total: int  # number of rows


def _extent(rows: Rows, weight: Vector, features: int, comm: Comm) -> _Extent:
    """Return the extent of each column; collective."""
    sparse = isinstance(rows, CsrRows)
    columns = features + 1 if sparse else features
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    stored = np.zeros(columns + 1, np.int64)
    stored[-1] = len(rows)
    if isinstance(rows, CsrRows):
        column_moments.extent_csr(rows.indptr, rows.indices, rows.values, weight, low, high, stored)
    else:
        column_moments.extent_dense(rows.values, weight, low, high)
        stored[:-1] = len(rows)
    stored = comm.sum(stored)
    low, high = -comm.max(-low), comm.max(high)
    empty = ~np.isfinite(low)
    low[empty], high[empty] = 0.0, 0.0
    return _Extent(low, high, stored[:-1], int(stored[-1]))


def _mean(rows: Rows, weight: Vector, middle: Vector, unit: Vector, comm: Comm) -> Vector:
    """Return the weighted mean of (x - middle)/unit of each column's entries; collective."""
    limbs = np.zeros((2, len(middle)), np.int64)
    if isinstance(rows, CsrRows):
        column_moments.sums_csr(rows.indptr, rows.indices, rows.values, weight, middle, 1.0 / unit, limbs)
    else:
        column_moments.sums_dense(rows.values, weight, middle, 1.0 / unit, limbs)
    return _mean_of(limbs, weight, comm)


def _moments(rows: Rows, weight: Vector, centre: Vector, unit: Vector, comm: Comm) -> tuple[Vector, Vector]:
    """Return the weighted means of the second and fourth powers of (x - centre)/unit of each column; collective."""
    second, fourth = np.zeros((2, 2, len(centre)), np.int64)
    if isinstance(rows, CsrRows):
        column_moments.moments_csr(rows.indptr, rows.indices, rows.values, weight, centre, 1.0 / unit, second, fourth)
    else:
        column_moments.moments_dense(rows.values, weight, centre, 1.0 / unit, second, fourth)
    return _mean_of(second, weight, comm), _mean_of(fourth, weight, comm)


def _mean_of(limbs: NDArray[np.int64], weight: Vector, comm: Comm) -> Vector:
    """Return the sums of all ranks over the whole weight; 0 without any weight; collective."""
    high, low = comm.sum(limbs)
    return np.asarray((high + low / 2.0**LIMB_BITS) / max(total_weight(weight, comm), 1.0))


def _with_common(typical: Vector, entries: NDArray[np.int64]) -> Vector:
    """Replace sizes by that of the median entry, where they differ by a factor of at most `ALIKE` from it."""
    order = np.argsort(typical, kind="stable")
    counted = np.cumsum(np.where(typical > 0.0, entries, 0)[order])
    if counted[-1] == 0:
        return typical
    common = typical[order[np.searchsorted(counted, (counted[-1] + 1) // 2)]]
    return np.where((typical >= common / ALIKE) & (typical <= common * ALIKE), common, typical)


def _scale(typical: Vector) -> Vector:
    """Return each size, rounded so that float32 holds its inverse; 1 where the size is 0."""
    bounded = np.clip(np.where(typical > 0.0, typical, 1.0), 1.0 / LARGEST_SCALE, LARGEST_SCALE)
    return np.asarray(1.0 / (1.0 / bounded).astype(np.float32).astype(np.float64))


def _completed(rows: CsrRows, wanted: NDArray[np.intp]) -> CsrRows:
    """Return rows in which each of the columns `wanted` is stored, with a 0 where it was missing."""
    if len(wanted) == 0:
        return rows
    lacking = column_moments.lacking(rows.indptr, rows.indices, wanted)
    if not lacking.any():
        return rows
    full = empty_csr(np.diff(rows.indptr) + lacking, rows.width, rows.values.dtype)
    column_moments.completed(rows.indptr, rows.indices, rows.values, wanted, full.indptr, full.indices, full.values)
    return full
