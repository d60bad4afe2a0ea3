"""Local SAGA steps: what a call is asked to do, and the kernel for dense or sparse rows that does it.

One step takes the block B of rows k … k + batch - 1 (the last block of the rows may be shorter):

    Δ_i = s_i loss'(w x_i) - table_i,   table_i ← table_i + Δ_i   for i in B
    u = Σ_{i in B} Δ_i x_iᵀ
    w_j ← prox_{step_j l1}(w_j - step_j (innovation u_j + average_j + l2 w_j))
    average_j ← average_j + share u_j
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import CsrRows, DenseRows
from mpiopt.kernels.dense import BLOCK
from mpiopt.kernels.permutations import Starts
from mpiopt.kernels.polling import Poll, paced
from mpiopt.kernels.saga_csr import DECAY, LOG_DECAY, PULL, STEP, saga_lazy, saga_sparse
from mpiopt.kernels.saga_dense import saga_dense
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Model = NDArray[np.float64]  # (outputs, width)

FORMS = ("sparse", "lazy")


@dataclass(frozen=True, eq=False)
class SagaCall:
    """The steps of one call.

    With blocks drawn uniformly from the ⌈n/batch⌉ blocks of n rows, the innovation is unbiased for the mean over
    the n rows where innovation = ⌈n/batch⌉/n, short last block or not.
    """

    starts: Starts  # (steps,) the first row of each step's block
    step: Vector  # (width,) step size of each column
    innovation: float
    share: float
    batch: int = BLOCK  # rows of a block, 1 … 8
    form: str = "sparse"  # of CSR rows: "sparse" (fast, the same in expectation) or "lazy" (the dense iterates)
    poll: Poll | None = None  # called now and then, for an exchange under way (not in the form "lazy")

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= BLOCK:
            raise ValueError(f"batch must be 1 … {BLOCK}, not {self.batch}")
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, not {self.form!r}")


def local_steps(objective: Objective, moves: SagaCall, w: Model, average: Model, table: Vector) -> None:
    """Make the steps in place: `w` and `average` (outputs, width), `table` (n, outputs).

    Raises
    ------
    ValueError
        If a shape does not fit or a start is no row: the kernels themselves do not look.
    """
    if len(moves.starts) == 0:
        return
    _check(objective, moves, w, average, table)
    rows = objective.shard.rows
    if isinstance(rows, DenseRows):
        _dense(rows, objective, moves, w, average, table)
    elif moves.form == "sparse":
        _sparse(rows, objective, moves, w, average, table)
    else:
        _lazy(rows, objective, moves, w, average, table)


def _check(objective: Objective, moves: SagaCall, w: Model, average: Model, table: Vector) -> None:
    n, model = len(objective.shard), (objective.outputs, objective.width)
    shapes = (w.shape, average.shape, table.shape, moves.step.shape)
    if shapes != (model, model, (n, objective.outputs), model[1:]):
        raise ValueError(f"shapes of w, average, table, step are {shapes}; model {model}, {n} rows")
    if not 0 <= moves.starts.min() <= moves.starts.max() < n:
        raise ValueError(f"starts lie in {moves.starts.min()} … {moves.starts.max()}, rows in 0 … {n - 1}")


def _dense(rows: DenseRows, objective: Objective, moves: SagaCall, w: Model, average: Model, table: Vector) -> None:
    shard, (l1, l2) = objective.shard, objective.penalty.strengths
    for starts in paced(moves.starts, moves.poll):
        saga_dense(
            *(rows.values, shard.label, shard.weight, table, w, average, starts, moves.batch, moves.step),
            *(shard.features, l2, l1, moves.innovation, moves.share, objective.loss.slope_address),
        )


def _sparse(rows: CsrRows, objective: Objective, moves: SagaCall, w: Model, average: Model, table: Vector) -> None:
    shard, outputs, (l1, l2) = objective.shard, len(w), objective.penalty.strengths
    counts = objective.column_counts
    # The ⌈n/batch⌉ dense steps of an epoch are spread over the visits that it pays to column j.
    each = moves.step * (-(-len(rows) // moves.batch) / np.maximum(counts, 1))
    records = _records(objective.width, 2 * outputs + 2)
    records[:, 0 : 2 * outputs : 2] = w.T
    records[:, 1 : 2 * outputs : 2] = average.T
    records[:, 2 * outputs + STEP] = moves.step
    records[:, 2 * outputs + PULL] = each / (1 + each * objective.ridge)
    for starts in paced(moves.starts, moves.poll):
        saga_sparse(
            *(rows.indptr, rows.indices, rows.values, shard.label, shard.weight, table, records, starts),
            *(moves.batch, shard.features, l2, l1, moves.innovation, moves.share, objective.loss.slope_address),
        )
    met = counts > 0
    _move_unmet(objective, moves, w, average, ~met)
    w[:, met] = records[met, 0 : 2 * outputs : 2].T
    average[:, met] = records[met, 1 : 2 * outputs : 2].T


def _move_unmet(objective: Objective, moves: SagaCall, w: Model, average: Model, unmet: NDArray[np.bool_]) -> None:
    """Move the columns that no row of this rank has by one implicit step as long as all steps together."""
    long = len(moves.starts) * moves.step[unmet]
    moved = w[:, unmet] - long * average[:, unmet]
    kept = np.sign(moved) * np.maximum(np.abs(moved) - long * objective.threshold[unmet], 0.0)
    w[:, unmet] = kept / (1 + long * objective.ridge[unmet])


def _lazy(rows: CsrRows, objective: Objective, moves: SagaCall, w: Model, average: Model, table: Vector) -> None:
    shard, outputs = objective.shard, len(w)
    decay = 1 - moves.step * objective.ridge
    records = _records(objective.width, max(3 * outputs + 4, 8))
    records[:, 0 : 3 * outputs : 3] = w.T
    records[:, 1 : 3 * outputs : 3] = average.T
    records[:, 3 * outputs + STEP] = moves.step
    records[:, 3 * outputs + DECAY] = decay
    records[:, 3 * outputs + LOG_DECAY] = np.log(decay, out=np.zeros_like(decay), where=decay > 0)
    saga_lazy(
        *(rows.indptr, rows.indices, rows.values, shard.label, shard.weight, table, records, moves.starts),
        *(moves.batch, shard.features, objective.penalty.strengths[0], moves.innovation, moves.share),
        objective.loss.slope_address,
    )
    w[...] = records[:, 0 : 3 * outputs : 3].T
    average[...] = records[:, 1 : 3 * outputs : 3].T


def _records(width: int, size: int) -> NDArray[np.float64]:
    """Give zeros (width, size) that begin at a cache line."""
    raw = np.zeros(width * size + 8)
    first = (-raw.ctypes.data % 64) // 8
    return raw[first : first + width * size].reshape(width, size)
