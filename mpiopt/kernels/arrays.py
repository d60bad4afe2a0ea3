"""Types of the arrays that kernels take; docstrings give their shapes.

numba ignores these annotations: it compiles a kernel for the arrays of its first call.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]  # one axis
Matrix = NDArray[np.float64]  # two or more axes
Values = NDArray[np.floating[Any]]  # float32 or float64: numbers of rows
Integers = NDArray[np.int64]
Columns = NDArray[np.int32]  # column numbers of CSR rows
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Symbols = NDArray[np.unsignedinteger[Any]]  # of any width
Scalar = Any  # a number inside a kernel, of a type that numba infers


class CsrArrays(NamedTuple):
    """Rows in compressed sparse form; the columns of a row are distinct."""

    indptr: NDArray[np.int64]  # (n + 1,)
    indices: NDArray[np.int32]  # (nonzeros,) columns
    values: NDArray[Any]  # (nonzeros,) float32 or float64


class Labels(NamedTuple):
    """What the loss needs of each row beside its margins."""

    y: NDArray[np.float64]  # (n,) labels, or (n, 2) labels and offsets
    weight: NDArray[np.float64]  # (n,) s_i
