"""The rows that one rank owns, dense or sparse, with labels and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DenseRows:
    """Rows as a C-contiguous array.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (n, width)
        The features, then a column of ones if there is an intercept, then zeros; `width` is a multiple of 8.

    Examples
    --------
    >>> import numpy as np
    >>> rows = DenseRows(np.zeros((3, 8)))
    >>> len(rows), rows.width, rows.nbytes
    (3, 8, 192)
    """

    values: NDArray[np.floating]

    @property
    def width(self) -> int:
        """Number of columns stored: features, intercept and zeros."""
        return int(self.values.shape[1])

    @property
    def nbytes(self) -> int:
        """Memory of the rows in bytes."""
        return int(self.values.nbytes)

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True, eq=False)
class CsrRows:
    """Rows in compressed sparse row form; an intercept is a stored 1 at the end of each row.

    Parameters
    ----------
    indptr : ndarray of int64, shape (n + 1,)
        The entries of row i stand at `indptr[i]` … `indptr[i + 1] - 1`.
    indices : ndarray of int32, shape (nonzeros,)
        Columns from 0, ascending within a row, each at most once: kernels count on that.
    values : ndarray of float32 or float64, shape (nonzeros,)
        The entries.
    width : int
        Number of columns, with the intercept's.

    Examples
    --------
    >>> import numpy as np
    >>> rows = CsrRows(np.array([0, 1, 3]), np.array([1, 0, 2], np.int32), np.ones(3), 3)
    >>> len(rows), rows.width, rows.nbytes
    (2, 3, 60)
    """

    indptr: Indices
    indices: NDArray[np.int32]
    values: NDArray[np.floating]
    width: int

    @property
    def nbytes(self) -> int:
        """Memory of the rows in bytes."""
        return int(self.indptr.nbytes + self.indices.nbytes + self.values.nbytes)

    def __len__(self) -> int:
        return len(self.indptr) - 1


Rows = DenseRows | CsrRows


@dataclass(frozen=True, eq=False)
class Shard:
    """The rows of one rank with labels and weights, and their place in the whole data set.

    The data set is one sequence of `total` rows, which does not depend on the number of ranks. This rank owns the
    positions `start` … `start + n - 1`. What is stored in the order of the sequence can be divided again for another
    number of ranks.

    Parameters
    ----------
    rows : DenseRows or CsrRows
        The n rows, in the order in which they lie in memory.
    label : ndarray of float64, shape (n,)
        -1 or +1, a class number from 0, or a real target.
    weight : ndarray of float64, shape (n,)
        Sample weights, with mean 1 over all ranks.
    order : ndarray of int64, shape (n,)
        A permutation: row j in memory has the position `start + order[j]`.
    start : int
        First position of this rank.
    total : int
        Rows over all ranks, N.
    features : int
        Number of features, d, without intercept and padding.
    intercept : bool
        Whether column `features` is constant 1; it is not penalised.
    column_scale : ndarray of float64, shape (features,), optional
        By what each column was divided for the algorithms alone (`mpiopt.data.coordinates`): the penalty is on the
        weight divided by it. None: by 1.
    far : ndarray of float64, shape (features,), optional
        Where columns lie that are far from 0 beside their range and that no intercept centres; 0 for the others.
    weight_unit : float
        By what `weight` is multiplied to give the weights as they were given.

    Examples
    --------
    >>> import numpy as np
    >>> rows = DenseRows(np.eye(2, 8))
    >>> shard = Shard(rows, np.array([1.0, -1.0]), np.ones(2), np.arange(2), start=0, total=2, features=8)
    >>> len(shard)
    2
    """

    rows: Rows
    label: Vector
    weight: Vector
    order: Indices
    start: int
    total: int
    features: int
    intercept: bool = False
    column_scale: Vector | None = None
    weight_unit: float = 1.0
    far: Vector | None = None

    def __len__(self) -> int:
        return len(self.rows)
