"""Preconditioned local steps of SAGA on blocks of rows, w ← w − η P⁻¹ v, for any number of outputs.

For the block B with innovation u = Σ_B (new − table_i) x_i and this rank's part g of the average of the tables,

    v = innovation · u + rest + own_scale · g + ridge ∘ w + others (w − centre)

where `rest` is what the other ranks contributed at the last exchange, and `others` tells how that changes
(`mpiopt.algorithms.preconditioner`). There is a kernel for dense rows and one for CSR rows: they differ in margins
and in u alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpiopt.kernels.dense import BLOCK, accumulate, margins, prefetch_rows
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import FAST, call_block
from mpiopt.kernels.saga_blocks import (
    CsrArrays,
    Labels,
    LocalIterate,
    OthersModel,
    PreconditionedFactors,
    update_table,
)


@njit(fastmath=FAST, error_model="numpy")
def _step(iterate: LocalIterate, u: Any, model: OthersModel, factors: PreconditionedFactors, v: Any) -> None:
    """Turn the innovation u (outputs, width) of a block into a step; updates w and own, clears u; v is work space."""
    w, own, rest, centre, ridge = iterate.w, iterate.own, model.rest, model.centre, model.ridge
    inverse, others, share, eta = model.inverse, model.others, factors.share, factors.eta
    innovation, own_scale = factors.innovation, factors.own_scale
    outputs, width = w.shape
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
    x: Any, labels: Labels, iterate: LocalIterate, model: OthersModel, factors: PreconditionedFactors, order: Any,
    block: int, slope_address: int,
) -> None:  # fmt: skip
    """Do one step for each block of dense rows; changes w, own and table of the iterate.

    Parameters
    ----------
    x : (n, width) array, float32 or float64
        Rows.
    labels : Labels
        Labels and weights of the rows.
    iterate : LocalIterate
        w, own and table; changed in place.
    model : OthersModel
        The others' part of the gradient, ridge and preconditioner.
    factors : PreconditionedFactors
        Factors of the step.
    order : (steps,) int64 array
        Block B is the rows B·block … (B + 1)·block − 1.
    block : int
        Rows of a block.
    slope_address : int
        Address of the loss's slope (`mpiopt.kernels.loss_block`).
    """
    y, s, w, table = labels.y, labels.weight, iterate.w, iterate.table
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
            update_table(s, table, e, k, count, outputs)
            for c in range(outputs):
                accumulate(x, k, n - 1, e, c, outputs, u)
        _step(iterate, u, model, factors, v)


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def blocks_csr(
    rows: CsrArrays, labels: Labels, iterate: LocalIterate, model: OthersModel, factors: PreconditionedFactors,
    order: Any, block: int, slope_address: int,
) -> None:  # fmt: skip
    """Do one step for each block of CSR rows; the other arguments are those of `blocks_dense`.

    Parameters
    ----------
    rows : CsrArrays
        Rows.
    labels, iterate, model, factors, order, block, slope_address
        See `blocks_dense`.
    """
    indptr, indices, x = rows.indptr, rows.indices, rows.values
    y, s, w, table = labels.y, labels.weight, iterate.w, iterate.table
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
            update_table(s, table, e, k, count, outputs)
            for b in range(count):
                for c in range(outputs):
                    change = e[b * outputs + c]
                    for p in range(indptr[k + b], indptr[k + b + 1]):
                        u[c, indices[p]] += change * x[p]
        _step(iterate, u, model, factors, v)
