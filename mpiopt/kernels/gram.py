"""Blocks of rows in a nutshell: margins and Gram matrices, all that a step along their own gradient changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mpiopt.kernels.loss_block import EXACT, FAST

Array = NDArray[np.float64]


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def gram_blocks_dense(x: Any, w: Any, column: Any, index: Any, margins: Any, grams: Any) -> None:
    """Fill the margins and Gram matrices of the blocks `index` (m, b) of dense rows."""
    for t in range(len(index)):
        for a in range(index.shape[1]):
            i = index[t, a]
            if i < 0:
                continue
            for c in range(len(w)):
                total = 0.0
                for j in range(x.shape[1]):
                    total += x[i, j] * w[c, j]
                margins[t, a, c] = total
            for b in range(a + 1):
                k, total = index[t, b], 0.0
                for j in range(x.shape[1]):
                    total += column[j] * x[i, j] * x[k, j]
                grams[t, a, b] = grams[t, b, a] = total


@njit(fastmath=EXACT, cache=True, nogil=True, error_model="numpy")
def gram_blocks_csr(
    indptr: Any, indices: Any, values: Any, w: Any, column: Any, index: Any, margins: Any, grams: Any
) -> None:  # fmt: skip
    """Fill the margins and Gram matrices of the blocks `index` (m, b) of CSR rows."""
    for t in range(len(index)):
        for a in range(index.shape[1]):
            i = index[t, a]
            if i < 0:
                continue
            for p in range(indptr[i], indptr[i + 1]):
                for c in range(len(w)):
                    margins[t, a, c] += values[p] * w[c, indices[p]]
            for b in range(a + 1):
                grams[t, a, b] = grams[t, b, a] = _product(indptr, indices, values, column, i, index[t, b])


@njit(fastmath=EXACT, error_model="numpy")
def _product(indptr: Any, indices: Any, values: Any, column: Any, i: int, k: int) -> float:
    """Give Σ_j column_j x_ij x_kj of two rows whose columns ascend."""
    p, q, total = indptr[i], indptr[k], 0.0
    while p < indptr[i + 1] and q < indptr[k + 1]:
        if indices[p] == indices[q]:
            total += column[indices[p]] * values[p] * values[q]
            p, q = p + 1, q + 1
        elif indices[p] < indices[q]:
            p += 1
        else:
            q += 1
    return total
