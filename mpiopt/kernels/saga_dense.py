"""Local SAGA steps on dense rows (Defazio, Bach, Lacoste-Julien 2014), in blocks of up to 8 rows.

One step with the block B of rows k … k + batch - 1 (the last block may be shorter):

    Δ_i = s_i loss'(w x_i) - table_i,   table_i += Δ_i   for i in B
    u = Σ_{i in B} Δ_i x_iᵀ
    w_j ← prox_{step_j threshold_j}(w_j - step_j (innovation u_j + average_j + ridge_j w_j))
    average_j += share u_j
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpiopt.kernels.dense import BLOCK, margins, prefetch_rows
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import FAST, call_block, prefetch
from mpiopt.kernels.saga_blocks import BlockSteps, ColumnIterate, ColumnPenalty, Labels, update_table

LINE = 8  # float64 numbers of a cache line
AHEAD_BYTES = 131072  # prefetched rows must not drive out one another from the second-level cache


@njit(fastmath=FAST, error_model="numpy")
def _move(
    x: Any, k: int, last: int, e: Any, c: int, iterate: ColumnIterate, steps: BlockSteps, penalty: ColumnPenalty
) -> None:
    """Make the step for output c with the rows k … last, without prox."""
    outputs = iterate.w.shape[0]
    i1, i2, i3, i4 = min(k + 1, last), min(k + 2, last), min(k + 3, last), min(k + 4, last)
    i5, i6, i7 = min(k + 5, last), min(k + 6, last), min(k + 7, last)
    e0, e1, e2, e3 = e[c], e[outputs + c], e[2 * outputs + c], e[3 * outputs + c]
    e4, e5, e6, e7 = e[4 * outputs + c], e[5 * outputs + c], e[6 * outputs + c], e[7 * outputs + c]
    x0, x1, x2, x3, x4, x5, x6, x7 = x[k], x[i1], x[i2], x[i3], x[i4], x[i5], x[i6], x[i7]
    weights, mean, step = iterate.w[c], iterate.average[c], iterate.step
    ridge, innovation, share = penalty.ridge, steps.innovation, steps.share
    for j in range(x.shape[1]):
        low = e0 * x0[j] + e1 * x1[j] + e2 * x2[j] + e3 * x3[j]
        u = low + (e4 * x4[j] + e5 * x5[j] + e6 * x6[j] + e7 * x7[j])
        old, wj = mean[j], weights[j]
        weights[j] = wj - step[j] * (innovation * u + old + ridge[j] * wj)
        mean[j] = old + share * u


@njit(fastmath=FAST, error_model="numpy")
def _move_one(
    x: Any, k: int, e: float, c: int, iterate: ColumnIterate, steps: BlockSteps, penalty: ColumnPenalty
) -> None:
    """Do as `_move` with the single row k."""
    row, weights, mean, step = x[k], iterate.w[c], iterate.average[c], iterate.step
    ridge, innovation, share = penalty.ridge, steps.innovation, steps.share
    for j in range(x.shape[1]):
        u = e * row[j]
        old, wj = mean[j], weights[j]
        weights[j] = wj - step[j] * (innovation * u + old + ridge[j] * wj)
        mean[j] = old + share * u


@njit(fastmath=FAST, error_model="numpy")
def _soften(iterate: ColumnIterate, c: int, penalty: ColumnPenalty) -> None:
    """Soft-threshold w[c] by step_j threshold_j."""
    weights, step, threshold = iterate.w[c], iterate.step, penalty.threshold
    for j in range(weights.size):
        cut = step[j] * threshold[j]
        weights[j] -= min(max(weights[j], -cut), cut)


@njit(fastmath=FAST, error_model="numpy")
def _margin(x: Any, k: int, w: Any, c: int) -> float:
    """Return w_c x_k."""
    total = 0.0
    for j in range(x.shape[1]):
        total += x[k, j] * w[c, j]
    return total


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def saga_dense(
    x: Any, labels: Labels, table: Any, iterate: ColumnIterate, starts: Any, steps: BlockSteps,
    penalty: ColumnPenalty, slope_address: int,
) -> None:  # fmt: skip
    """Make one step for each block of dense rows; changes table, w and average.

    Parameters
    ----------
    x : (n, width) array, float32 or float64
        Rows.
    labels : Labels
        Labels and weights of the rows.
    table : (n, outputs) float64 array
        Slope of each row at its last visit; changed in place.
    iterate : ColumnIterate
        w and average, changed in place, and the step of each column.
    starts : (steps,) int64 array
        First row of each step's block.
    steps : BlockSteps
        Rows of a block, and the factors of the step.
    penalty : ColumnPenalty
        Ridge and threshold of each column.
    slope_address : int
        Address of the loss's slope (`mpiopt.kernels.loss_block`).
    """
    y, s, w, batch = labels.y, labels.weight, iterate.w, steps.batch
    n, outputs = x.shape[0], w.shape[0]
    z, e = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs)
    distance = max(2, min(8, AHEAD_BYTES // (batch * x.shape[1] * x.itemsize + 1)))
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
        update_table(s, table, e, k, count, outputs)
        for c in range(outputs):
            if count == 1:
                _move_one(x, k, e[c], c, iterate, steps, penalty)
            else:
                _move(x, k, k + count - 1, e, c, iterate, steps, penalty)
            if penalty.sharp:
                _soften(iterate, c, penalty)
