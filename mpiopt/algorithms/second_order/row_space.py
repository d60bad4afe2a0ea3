"""The optimum in the space of the rows, where they are fewer than the columns: N unknowns instead of d.

With a ridge alone the optimum is a combination of the rows (the representer theorem: G. Kimeldorf, G. Wahba, J. Math.
Anal. Appl. 33 (1971)). Let Z have the rows, each column over the root of its ridge, and L Lᵀ = Z Zᵀ. Then the model
w = Zᵀ L⁻ᵀ u, over these roots, has the margins L u and the ridge ‖u‖²: the same problem with N dense columns, for
which Newton's method is cheap and exact. That matters most where curvature jumps: a step that is nearly right moves
rows over the jump, and back again.

It is a start of a run, not an algorithm: rounding in Z Zᵀ is judged with everything else on the rows themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.cost_model import COSTS
from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.compress.channel import Channel
from mpiopt.data import row_formats
from mpiopt.data.shard import CsrRows, DenseRows
from mpiopt.objective.objective import Model, Objective

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class RowSpaceTuning:
    """Constants of the start."""

    passes: float = 30.0  # over the rows, which it may cost: so many does an iterative method take at least
    jump_passes: float = 300.0  # the same where curvature jumps
    steps: float = 10.0  # of Newton's method, which that cost counts
    rounds: int = 60  # of it at most
    gain: float = 1e-10  # of F: a step that gains less ends it
    largest: float = 1e7  # numbers of all rows, which each rank gathers
    jitter: float = 1e-14  # of the mean of the diagonal of Z Zᵀ, added to it: rows may depend on each other


TUNING = RowSpaceTuning()
WHOLE = 2.0  # passes over all columns: for the products of the rows, and for the model


class RowSpaceStart(NamedTuple):
    """An objective whose `initial` is the optimum in the space of the rows, and the epochs that this cost."""

    objective: Objective
    epochs: float


def with_start(objective: Objective, channel: Channel) -> RowSpaceStart:
    """Return the objective with its optimum in the space of the rows as start, where that is cheap; collective."""
    if not _is_worth_it(objective, channel):
        return RowSpaceStart(objective, 0.0)
    shard, d = objective.shard, objective.shard.features
    z = _scaled_rows(objective)
    every = _gathered(z, channel)
    product = every @ every.T
    k = product.toarray() if hasattr(product, "toarray") else product
    k[np.diag_indices_from(k)] += TUNING.jitter * max(float(np.trace(k)) / len(k), np.finfo(np.float64).tiny)
    try:
        root = np.linalg.cholesky(k) if np.isfinite(k).all() else np.zeros_like(k)
    except np.linalg.LinAlgError:
        root = np.zeros_like(k)
    root = channel.of_root(root).reshape(k.shape)  # all ranks take rank 0's
    if not root.diagonal().all():
        return RowSpaceStart(objective, 0.0)
    first = sum(int(part[0]) for part in channel.comm.allgather(np.array([len(shard)]))[: channel.rank])
    mine = slice(first, first + len(shard))
    found, epochs = _optimum(_in_row_space(objective, root, mine), channel)
    u = np.linalg.solve(root.T, found[0, : len(root)])[mine]
    w = objective.zeros()
    w[0, :d] = channel.sum(np.asarray(z.T @ u).reshape(-1)).reshape(-1) / np.sqrt(objective.ridge[:d])
    if shard.intercept:
        w[0, d] = found[0, len(root)]
    epochs *= len(root) / d  # of passes over n columns, not d
    return RowSpaceStart(replace(objective, initial=channel.of_root(w).reshape(w.shape)), epochs + WHOLE)


def _is_worth_it(objective: Objective, channel: Channel) -> bool:
    """Return whether rows are so few that the optimum in their space costs less than passes over them; collective."""
    shard, n, d = objective.shard, float(objective.shard.total), float(objective.shard.features)
    ridge = objective.ridge[: shard.features]
    if objective.outputs > 1 or objective.initial is not None or objective.bounds is not None or n >= d:
        return False
    if shard.far is not None:  # what such columns have in common hides the rest of Z Zᵀ
        return False
    if objective.threshold.any() or not (ridge > 0.0).all() or objective.loss.quadratic or shard.total < 2:
        return False
    numbers = float(channel.sum(float(shard.rows.values.size))[0])
    sparse = isinstance(shard.rows, CsrRows)
    one_pass = numbers * (COSTS.sparse_number if sparse else COSTS.number) + COSTS.row * n
    most = (TUNING.jump_passes if objective.loss.jumps else TUNING.passes) * one_pass
    steps = TUNING.steps * (COSTS.multiply_add + COSTS.factor / 3.0) * n**3
    if numbers > TUNING.largest or steps > most:
        return False
    if not sparse:
        return steps + COSTS.multiply_add * n * numbers <= most
    counts = channel.sum(objective.column_counts.astype(np.float64))[: shard.features]
    return steps + COSTS.pair * float((counts**2).sum()) <= most


def _scaled_rows(objective: Objective) -> Any:
    """Return this rank's rows without intercept and padding, each column over the root of its ridge."""
    shard, d = objective.shard, objective.shard.features
    factor, rows = 1.0 / np.sqrt(objective.ridge[:d]), shard.rows
    if isinstance(rows, DenseRows):
        return rows.values[:, :d] * factor
    from scipy import sparse

    whole = sparse.csr_matrix((rows.values, rows.indices, rows.indptr), (len(rows), rows.width))
    return whole[:, :d].multiply(factor).tocsr()


def _gathered(z: Any, channel: Channel) -> Any:
    """Return the rows of all ranks; collective."""
    if channel.size == 1:
        return z
    comm = channel.comm
    if isinstance(z, np.ndarray):
        return np.concatenate([part.reshape(-1, z.shape[1]) for part in comm.allgather(np.ascontiguousarray(z))])
    from scipy import sparse

    values, columns = comm.allgather(z.data), comm.allgather(z.indices.astype(np.int64))
    lengths = np.concatenate(comm.allgather(np.diff(z.indptr).astype(np.int64)))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_matrix((np.concatenate(values), np.concatenate(columns), indptr), (len(lengths), z.shape[1]))


def _in_row_space(objective: Objective, root: Matrix, mine: slice) -> Objective:
    """Return the objective whose rows are those of L, of which this rank has some, with a ridge of 1."""
    shard, n = objective.shard, len(root)
    values = row_formats.aligned_zeros(len(shard), row_formats.padded_width(n + shard.intercept), np.float64)
    values[:, :n] = root[mine]
    rows = DenseRows(values)
    if shard.intercept:
        row_formats.set_intercept(rows, n)
    l2 = objective.penalty.strengths[1]
    inner = replace(shard, rows=rows, features=n, column_scale=np.full(n, np.sqrt(l2)))
    return replace(objective, shard=inner)


def _optimum(small: Objective, channel: Channel) -> tuple[Model, float]:
    """Run Newton's method until F hardly falls; return the model and the epochs; collective."""
    newton = Newton(limit=small.width)
    state = newton.init(small, channel)
    value, epochs = float(state.value[0]), 0.0
    for k in range(TUNING.rounds):
        epochs += newton.step(k, state, small, channel).epochs
        gained, value = value - float(state.value[0]), float(state.value[0])
        if gained <= TUNING.gain * abs(value):
            break
    return np.array(state.w), epochs
