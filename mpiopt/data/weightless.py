"""Rows of weight 0 count nothing. They are emptied, because their loss may be infinite, and 0 · ∞ is no number."""

from __future__ import annotations

import numpy as np

from mpiopt.data.shard import CsrRows, Rows, Vector

LEGAL = 1.0  # a label that every kind of target has: a class, a count, a share, a positive number


def empty_weightless(rows: Rows, label: Vector, weight: Vector) -> Vector:
    """Set the rows of weight 0 to zeros, in place, and return the labels with a legal one for each of them.

    Examples
    --------
    >>> from mpiopt.data.shard import DenseRows
    >>> rows = DenseRows(np.array([[1.0, 2.0], [1e300, 3.0]]))
    >>> empty_weightless(rows, np.array([0.0, 1e300]), np.array([1.0, 0.0])), rows.values.tolist()
    (array([0., 1.]), [[1.0, 2.0], [0.0, 0.0]])
    """
    without = weight == 0.0
    if not without.any():
        return label
    if isinstance(rows, CsrRows):
        rows.values[np.repeat(without, np.diff(rows.indptr))] = 0.0
    else:
        rows.values[without] = 0.0
    return np.where(without, LEGAL, label)


def empty_offsets(offset: Vector | None, weight: Vector) -> Vector | None:
    """Return the offsets with 0 for rows of weight 0, whose size would loosen bounds; None if there are none.

    Examples
    --------
    >>> empty_offsets(np.array([2.0, 1e300]), np.array([1.0, 0.0])).tolist()
    [2.0, 0.0]
    """
    return None if offset is None else np.where(weight == 0.0, 0.0, offset)
