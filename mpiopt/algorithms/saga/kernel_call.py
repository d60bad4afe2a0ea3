"""One call of the kernels of local SAGA steps, on dense or CSR rows.

One step takes the block B of rows k … k + batch − 1 (the last block of the rows may be shorter):

    Δ_i = s_i loss'(w x_i) − table_i,   table_i ← table_i + Δ_i   for i in B
    u = Σ_{i in B} Δ_i x_iᵀ
    w_j ← prox_{step_j threshold_j}(w_j − step_j (innovation u_j + average_j + ridge_j w_j))
    average_j ← average_j + share u_j
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.read_ahead import read_ahead
from mpiopt.data.shard import CsrRows, DenseRows
from mpiopt.kernels.dense import BLOCK
from mpiopt.kernels.permutations import Starts
from mpiopt.kernels.polling import Poll, paced
from mpiopt.kernels.saga_blocks import BlockSteps, ColumnIterate, ColumnPenalty, CsrArrays, Labels, Strengths
from mpiopt.kernels.saga_csr import DECAY, LOG_DECAY, PAIR, RATE, STEP, saga_lazy, saga_sparse
from mpiopt.kernels.saga_dense import saga_dense
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Model = NDArray[np.float64]  # (outputs, width)

FORMS = ("sparse", "lazy")


@dataclass(frozen=True, eq=False)
class SagaCall:
    """The steps of one call.

    With blocks drawn uniformly from the ⌈n/batch⌉ blocks of n rows, the innovation is unbiased for the mean over n
    rows where innovation = ⌈n/batch⌉/n, whether or not the last block is short.

    Parameters
    ----------
    starts : (steps,) int64 array
        First row of each step's block.
    step : (width,) array
        Step size of each column.
    innovation : float
        Factor on u in the step.
    share : float
        Factor on u in the change of the average.
    batch : int
        Rows of a block, 1 … 8.
    form : {"sparse", "lazy"}
        Of CSR rows: "sparse" is fast and the same in expectation, "lazy" gives the iterates of dense rows.
    poll : callable, optional
        Called now and then, for an exchange under way; not in the form "lazy".
    """

    starts: Starts
    step: Vector
    innovation: float
    share: float
    batch: int = BLOCK
    form: str = "sparse"
    poll: Poll | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= BLOCK:
            raise ValueError(f"batch must be 1 … {BLOCK}, not {self.batch}")
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, not {self.form!r}")


def local_steps(objective: Objective, call: SagaCall, w: Model, average: Model, table: Vector) -> None:
    """Make the steps in place.

    Parameters
    ----------
    objective : Objective
        Rows, loss and penalty of this rank.
    call : SagaCall
        The steps.
    w, average : (outputs, width) float64 arrays
        The iterate, and the average of the table that steps use; changed.
    table : (n, outputs) float64 array
        Slope of each row at its last visit; changed.

    Raises
    ------
    ValueError
        If a shape does not fit or a start is no row: the kernels themselves do not check.
    """
    if len(call.starts) == 0:
        return
    _check(objective, call, w, average, table)
    rows, shard = objective.shard.rows, objective.shard
    l1, l2 = objective.penalty.strengths
    steps = BlockSteps(call.batch, call.innovation, call.share)
    labels = Labels(shard.label, shard.weight)
    address = objective.loss.slope_address
    if isinstance(rows, DenseRows):
        iterate = ColumnIterate(w, average, call.step)
        penalty = ColumnPenalty(objective.ridge, objective.threshold, l1 > 0.0)
        for part in read_ahead(rows, call.starts, call.batch):
            for starts in paced(part, call.poll):
                saga_dense(rows.values, labels, table, iterate, starts, steps, penalty, address)
        return
    arrays, strengths = CsrArrays(rows.indptr, rows.indices, rows.values), Strengths(l2, l1)
    if call.form == "lazy":
        records = _lazy_records(objective, call, w, average)
        saga_lazy(arrays, labels, table, records, call.starts, steps, strengths, address)
        w[...] = records[:, 0 : 3 * len(w) : 3].T
        average[...] = records[:, 1 : 3 * len(w) : 3].T
        return
    records = _sparse_records(rows, objective, call, w, average)
    for part in read_ahead(rows, call.starts, call.batch):
        for starts in paced(part, call.poll):
            saga_sparse(arrays, labels, table, records, starts, steps, strengths, address)
    met = objective.column_counts > 0
    _move_unmet(objective, call, w, average, ~met)
    w[:, met] = records[met, 0 : 2 * len(w) : 2].T
    average[:, met] = records[met, 1 : 2 * len(w) : 2].T


def _check(objective: Objective, call: SagaCall, w: Model, average: Model, table: Vector) -> None:
    """Raise ValueError where shapes or starts do not fit."""
    n, model = len(objective.shard), (objective.outputs, objective.width)
    shapes = (w.shape, average.shape, table.shape, call.step.shape)
    if shapes != (model, model, (n, objective.outputs), model[1:]):
        raise ValueError(f"shapes of w, average, table, step are {shapes}; they must fit model {model} and {n} rows")
    if not 0 <= call.starts.min() <= call.starts.max() < n:
        raise ValueError(f"starts lie in {call.starts.min()} … {call.starts.max()}; they must be rows in 0 … {n - 1}")


def _sparse_records(rows: CsrRows, objective: Objective, call: SagaCall, w: Model, average: Model) -> Vector:
    """Return the records of `saga_sparse`."""
    outputs = len(w)
    # The ⌈n/batch⌉ dense steps of an epoch are spread over the visits that the epoch pays to column j.
    often = -(-len(rows) // call.batch) / np.maximum(objective.column_counts, 1)
    records = _aligned_zeros(objective.width, 2 * outputs + 2)
    records[:, 0 : 2 * outputs : 2] = w.T
    records[:, 1 : 2 * outputs : 2] = average.T
    records[:, 2 * outputs + STEP] = call.step
    pair = np.empty((objective.width, 2), np.float32)
    pair[:, 0] = often / (1 + often * call.step * objective.ridge)
    pair[:, 1] = objective.rate
    records[:, 2 * outputs + PAIR] = pair.view(np.float64)[:, 0]
    return records


def _move_unmet(objective: Objective, call: SagaCall, w: Model, average: Model, unmet: NDArray[np.bool_]) -> None:
    """Move the columns that no row of this rank has, by one implicit step as long as all steps together."""
    long = len(call.starts) * call.step[unmet]
    moved = w[:, unmet] - long * average[:, unmet]
    kept = np.sign(moved) * np.maximum(np.abs(moved) - long * objective.threshold[unmet], 0.0)
    w[:, unmet] = kept / (1 + long * objective.ridge[unmet])


def _lazy_records(objective: Objective, call: SagaCall, w: Model, average: Model) -> Vector:
    """Return the records of `saga_lazy`."""
    outputs, decay = len(w), 1 - call.step * objective.ridge
    records = _aligned_zeros(objective.width, max(3 * outputs + 5, 8))
    records[:, 0 : 3 * outputs : 3] = w.T
    records[:, 1 : 3 * outputs : 3] = average.T
    records[:, 3 * outputs + STEP] = call.step
    records[:, 3 * outputs + DECAY] = decay
    records[:, 3 * outputs + RATE] = objective.rate
    records[:, 3 * outputs + LOG_DECAY] = np.log(decay, out=np.zeros_like(decay), where=decay > 0)
    return records


def _aligned_zeros(width: int, size: int) -> Vector:
    """Return zeros (width, size) that begin at a cache line."""
    raw = np.zeros(width * size + 8)
    first = (-raw.ctypes.data % 64) // 8
    return raw[first : first + width * size].reshape(width, size)
