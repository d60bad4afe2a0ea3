"""Local SAGA steps on dense rows (Defazio, Bach, Lacoste-Julien 2014), in blocks of up to 8 rows.

One step with the block B of rows k … k + batch - 1 (the last block may be shorter):

    Δ_i = s_i loss'(w x_i) - table_i,   table_i += Δ_i   for i in B
    u = Σ_{i in B} Δ_i x_iᵀ
    w_j ← prox_{step_j threshold}(w_j - step_j (innovation u_j + average_j + ridge w_j))
    average_j += share u_j
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.dense import BLOCK, margins, prefetch_rows
from mpiopt.kernels.loss_block import FAST, call_block, prefetch

LINE = 8  # float64 numbers of a cache line
_AHEAD_BYTES = 131072  # prefetched rows must not drive out one another from the second-level cache


@njit(fastmath=FAST, error_model="numpy")
def _move(
    x: Any, k: int, last: int, e: Any, c: int, outputs: int, w: Any, average: Any, step: Any, features: int,
    ridge: float, innovation: float, share: float,
) -> None:  # fmt: skip
    """Make the step for output c, without prox; the ridge acts on the columns before `features`."""
    i1, i2, i3, i4 = min(k + 1, last), min(k + 2, last), min(k + 3, last), min(k + 4, last)
    i5, i6, i7 = min(k + 5, last), min(k + 6, last), min(k + 7, last)
    e0, e1, e2, e3 = e[c], e[outputs + c], e[2 * outputs + c], e[3 * outputs + c]
    e4, e5, e6, e7 = e[4 * outputs + c], e[5 * outputs + c], e[6 * outputs + c], e[7 * outputs + c]
    x0, x1, x2, x3, x4, x5, x6, x7 = x[k], x[i1], x[i2], x[i3], x[i4], x[i5], x[i6], x[i7]
    weights, mean = w[c], average[c]
    for j in range(x.shape[1]):
        low = e0 * x0[j] + e1 * x1[j] + e2 * x2[j] + e3 * x3[j]
        u = low + (e4 * x4[j] + e5 * x5[j] + e6 * x6[j] + e7 * x7[j])
        old, wj = mean[j], weights[j]
        weights[j] = wj - step[j] * (innovation * u + old + (ridge if j < features else 0.0) * wj)
        mean[j] = old + share * u


@njit(fastmath=FAST, error_model="numpy")
def _move_one(
    x: Any, k: int, e: float, c: int, w: Any, average: Any, step: Any, features: int, ridge: float,
    innovation: float, share: float,
) -> None:  # fmt: skip
    """Do as `_move` with the single row k."""
    row, weights, mean = x[k], w[c], average[c]
    for j in range(x.shape[1]):
        u = e * row[j]
        old, wj = mean[j], weights[j]
        weights[j] = wj - step[j] * (innovation * u + old + (ridge if j < features else 0.0) * wj)
        mean[j] = old + share * u


@njit(fastmath=FAST, error_model="numpy")
def _soften(w: Any, c: int, step: Any, features: int, threshold: float) -> None:
    """Soft-threshold w[c] by step_j threshold in the columns before `features`."""
    weights = w[c]
    for j in range(min(features, w.shape[1])):
        cut = step[j] * threshold
        weights[j] -= min(max(weights[j], -cut), cut)


@njit(fastmath=FAST, error_model="numpy")
def _margin(x: Any, k: int, w: Any, c: int) -> float:
    total = 0.0
    for j in range(x.shape[1]):
        total += x[k, j] * w[c, j]
    return total


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def saga_dense(
    x: Any, y: Any, s: Any, table: Any, w: Any, average: Any, starts: Any, batch: int, step: Any, features: int,
    ridge: float, threshold: float, innovation: float, share: float, slope_address: int,
) -> None:  # fmt: skip
    """Make one step for each block that begins at a row of `starts`; changes table, w and average.

    Ridge and threshold are those of the columns before `features`; the others are not penalised.
    """
    n, outputs = x.shape[0], w.shape[0]
    z, e = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs)
    distance = max(2, min(8, _AHEAD_BYTES // (batch * x.shape[1] * x.itemsize + 1)))
    for t in range(len(starts)):
        k = starts[t]
        count = min(batch, n - k)
        ahead = starts[min(t + distance, len(starts) - 1)]
        # In two halves, before each phase of arithmetic: one long burst would stall it instead of passing beside it.
        prefetch_rows(x, ahead, batch // 2)
        end = min(ahead + batch, n)
        prefetch(y, ahead)
        prefetch(y, end - 1)
        prefetch(s, ahead)
        prefetch(s, end - 1)
        for p in range(ahead * outputs, end * outputs, LINE):
            prefetch(table, p)
        prefetch(table, end * outputs - 1)
        for c in range(outputs):
            if count == 1:
                z[c] = _margin(x, k, w, c)
            else:
                margins(x, k, k + count - 1, w, c, z, outputs)
        call_block(slope_address, z, y, k, e, count, outputs)
        prefetch_rows(x, ahead + batch // 2, batch - batch // 2)
        for b in range(count):
            for c in range(outputs):
                new = s[k + b] * e[b * outputs + c]
                e[b * outputs + c] = new - table[k + b, c]
                table[k + b, c] = new
        for q in range(count * outputs, BLOCK * outputs):
            e[q] = 0.0
        for c in range(outputs):
            if count == 1:
                _move_one(x, k, e[c], c, w, average, step, features, ridge, innovation, share)
            else:
                _move(x, k, k + count - 1, e, c, outputs, w, average, step, features, ridge, innovation, share)
            if threshold > 0.0:
                _soften(w, c, step, features, threshold)
