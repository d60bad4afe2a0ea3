"""The rows that one rank owns, dense or sparse, and the arithmetic of who owns what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DenseRows:
    """Rows as a C-contiguous array; `width` is a multiple of 8, columns beyond the features are constants."""

    values: NDArray[np.floating]  # (n, width) float32 or float64

    @property
    def width(self) -> int:
        """Columns stored: the features, the intercept's column of ones if any, zeros up to a multiple of 8."""
        return int(self.values.shape[1])

    @property
    def nbytes(self) -> int:
        """Memory of the rows in bytes."""
        return int(self.values.nbytes)

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True, eq=False)
class CsrRows:
    """Rows in compressed sparse row form, the indices of a row ascending; an intercept is a stored 1."""

    indptr: NDArray[np.int64]  # (n + 1,)
    indices: NDArray[np.int32]  # (nonzeros,)
    values: NDArray[np.floating]  # (nonzeros,) float32 or float64
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
    """One rank's rows with labels and weights, and their place in the whole.

    The whole data set is one sequence of `total` rows; this rank owns positions `start … start + n` of it and
    keeps them in memory in the order `order`: row j in memory is position `start + order[j]` of the sequence.
    The sequence does not depend on the number of ranks, so what is stored in its order can be cut anew.
    """

    rows: Rows
    label: Vector  # (n,) -1/+1, a class number 0 … C-1, or the target
    weight: Vector  # (n,) sample weights, mean 1 over all ranks
    order: NDArray[np.int64]  # (n,) a permutation of 0 … n-1
    start: int
    total: int  # N, rows over all ranks
    features: int  # d, without intercept and padding
    intercept: bool = False  # column `features` is constant 1 and not penalised

    def __len__(self) -> int:
        return len(self.rows)
