"""Local steps of preconditioned dSAGA on blocks of rows, w ← w − η P⁻¹ v; dense and CSR rows, any number of outputs.

For the block B with innovation u = Σ_B (new − table_i) x_i and the own share g of the table average,

    v = innovation · u + rest + own_scale · g + ridge ∘ w + others (w − centre)

where `rest` is what the other ranks contributed at the last exchange and `others` how that changes (metric.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mpiopt.kernels.dense import BLOCK, accumulate, margins, prefetch_rows
from mpiopt.kernels.loss_block import FAST, call_block


@njit(fastmath=FAST, error_model="numpy")
def _innovate(s: Any, table: Any, e: Any, k: int, count: int, outputs: int) -> None:
    """Turn new slopes e of the rows k … into their change s·e − table; put s·e into the table."""
    for b in range(count):
        for c in range(outputs):
            fresh = s[k + b] * e[b * outputs + c]
            e[b * outputs + c] = fresh - table[k + b, c]
            table[k + b, c] = fresh
    e[count * outputs :] = 0.0


@njit(fastmath=FAST, error_model="numpy")
def _step(
    w: Any, centre: Any, u: Any, own: Any, rest: Any, numbers: Any, ridge: Any, inverse: Any, others: Any, v: Any
) -> None:
    """Turn the innovation u of a block into a step; updates w and own, clears u."""
    outputs, width = w.shape
    innovation, own_scale, share, eta = numbers
    for c in range(outputs):
        for j in range(width):
            v[0, c, j] = innovation * u[c, j] + rest[c, j] + own_scale * own[c, j] + ridge[j] * w[c, j]
            v[1, c, j] = w[c, j] - centre[c, j]
            own[c, j] += share * u[c, j]
            u[c, j] = 0.0
    size = inverse.shape[0]
    to, force, away = w.reshape(-1, size), v[0].reshape(-1, size), v[1].reshape(-1, size)
    for i in range(size):
        for g in range(to.shape[0]):
            bent = 0.0
            for j in range(size):
                bent += others[i, j] * away[g, j]
            force[g, i] += bent
    for i in range(size):
        for g in range(to.shape[0]):
            step = 0.0
            for j in range(size):
                step += inverse[i, j] * force[g, j]
            to[g, i] -= eta * step


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def blocks_dense(
    x: Any, y: Any, s: Any, table: Any, w: Any, centre: Any, own: Any, rest: Any, order: Any, block: int,
    numbers: Any, ridge: Any, inverse: Any, others: Any, slope_address: int,
) -> None:  # fmt: skip
    """Do one step for each block of `order`; block B is the rows B·block … (B+1)·block − 1 in memory.

    numbers = (innovation, own_scale, share, eta), see the module.
    """
    n, width = x.shape
    outputs = w.shape[0]
    u, v = np.zeros((outputs, width)), np.empty((2, outputs, width))
    z, e = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs)
    for t in range(order.size):
        last = min(n, order[t] * block + block)
        for k in range(order[t] * block, last, BLOCK):
            count = min(BLOCK, last - k)
            prefetch_rows(x, k + 2 * BLOCK, BLOCK)
            for c in range(outputs):
                margins(x, k, n - 1, w, c, z, outputs)
            call_block(slope_address, z, y, k, e, count, outputs)
            _innovate(s, table, e, k, count, outputs)
            for c in range(outputs):
                accumulate(x, k, n - 1, e, c, outputs, u)
        _step(w, centre, u, own, rest, numbers, ridge, inverse, others, v)


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def blocks_csr(
    indptr: Any, indices: Any, x: Any, y: Any, s: Any, table: Any, w: Any, centre: Any, own: Any, rest: Any,
    order: Any, block: int, numbers: Any, ridge: Any, inverse: Any, others: Any, slope_address: int,
) -> None:  # fmt: skip
    """Do one step for each block of `order`, as `blocks_dense`."""
    n = indptr.size - 1
    outputs, width = w.shape
    u, v = np.zeros((outputs, width)), np.empty((2, outputs, width))
    z, e = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs)
    for t in range(order.size):
        last = min(n, order[t] * block + block)
        for k in range(order[t] * block, last, BLOCK):
            count = min(BLOCK, last - k)
            for b in range(count):
                for c in range(outputs):
                    total = 0.0
                    for p in range(indptr[k + b], indptr[k + b + 1]):
                        total += x[p] * w[c, indices[p]]
                    z[b * outputs + c] = total
            call_block(slope_address, z, y, k, e, count, outputs)
            _innovate(s, table, e, k, count, outputs)
            for b in range(count):
                for c in range(outputs):
                    change = e[b * outputs + c]
                    for p in range(indptr[k + b], indptr[k + b + 1]):
                        u[c, indices[p]] += change * x[p]
        _step(w, centre, u, own, rest, numbers, ridge, inverse, others, v)
