"""Local SAGA steps on CSR rows, in blocks of up to 8 rows, in two forms (the step is that of `saga_dense`).

* `saga_sparse`: sparse SAGA (Leblond, Pedregosa, Lacoste-Julien 2017). A row moves its own columns only; average,
  ridge and prox act on column j scaled by the inverse of the rate at which a step meets it, implicitly in the ridge.
  In expectation it is the dense step (with batch = 1 exactly so to first order in step_j ridge_j). It is the fast
  form: no column has to catch up.
* `saga_lazy`: each column catches up, in closed form, with the steps it missed when it is next met, and all columns
  at the end: to rounding the iterates of the dense kernel.

Inside, the arrays are passed one by one: numba changes a reference count at each access to a named tuple of arrays.
What a step needs of a column lies in one record, a row of `records`, so that a nonzero costs one cache line.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mpiopt.kernels.csr import entry, place
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import FAST, call_block, exponential, prefetch
from mpiopt.kernels.saga_blocks import BlockSteps, CsrArrays, Labels, Strengths, update_table
from mpiopt.kernels.short_rows import GROUP, dot_records_of_four

BLOCK = 8
AHEAD = 8  # rows: so far ahead the records of a row's columns are prefetched, and the row itself twice as far

# Records of saga_sparse: pairs (w, average) of each output, then step_j, and a pair of float32 numbers in the place
# of one float64: `often` and rate_j. One nonzero moves w by step_j often_j times what average, ridge and threshold
# ask for in a step. With one output a record so takes half a cache line. Rates are numbers that float32 holds
# (`mpiopt.data.coordinates`); the rounding of `often` moves no fixed point: it is a factor on what vanishes there.
STEP, PAIR = 0, 1
# Records of saga_lazy: triples (w, average, u) of each output, then step_j, 1 - step_j ridge_j, its logarithm, the
# step that the column has reached, and rate_j. With one output they fill a cache line.
DECAY, LOG_DECAY, REACHED, RATE = 1, 2, 3, 4


@njit(fastmath=FAST, error_model="numpy")
def _prefetch_row(indptr: Any, indices: Any, values: Any, i: int) -> None:
    """Ask for the cache lines of row i."""
    first, end = entry(indptr, i), entry(indptr, i + 1)
    for p in range(first, end, 16):
        prefetch(indices, p)
    for p in range(first, end, 64 // values.itemsize):
        prefetch(values, p)


@njit(fastmath=FAST, error_model="numpy")
def _prefetch_records(indptr: Any, indices: Any, records: Any, i: int) -> None:
    """Ask for the cache lines of the records of row i."""
    size, first, end = records.shape[1], entry(indptr, i), entry(indptr, i + 1)
    if size <= 8:
        for p in range(first, end):
            prefetch(records, np.int64(entry(indices, p)) * size)
        return
    for p in range(first, end):
        for q in range(0, size, 8):
            prefetch(records, np.int64(entry(indices, p)) * size + q)


@njit(fastmath=FAST, error_model="numpy")
def _prefetch_block(
    indptr: Any, indices: Any, values: Any, y: Any, s: Any, table: Any, starts: Any, batch: int, t: int
) -> Any:
    """Ask for what the steps after step t need, except records: AHEAD rows ahead, the rows themselves twice as far.

    Returns the first row whose records should be asked for while step t is made.
    """
    n, count = len(y), len(starts)
    distance = max(1, AHEAD // batch)
    far = starts[min(t + 2 * distance, count - 1)]
    for i in range(far, min(far + batch, n)):
        _prefetch_row(indptr, indices, values, i)
    near = starts[min(t + distance, count - 1)]
    prefetch(y, near)
    prefetch(s, near)
    prefetch(table, near * table.shape[1])
    prefetch(indptr, starts[min(t + 4 * distance, count - 1)])
    return near


@njit(fastmath=FAST, error_model="numpy")
def _soft(x: float, cut: float) -> float:
    """Return x, nearer to 0 by `cut`."""
    return x - min(max(x, -cut), cut)


@njit(fastmath=FAST, error_model="numpy", inline="always")
def _margin(indptr: Any, indices: Any, values: Any, flat: Any, i: int) -> Any:
    """Return w x_i for one output, whose records have four numbers."""
    first, end, total = entry(indptr, i), entry(indptr, i + 1), 0.0
    if end <= len(indices) - GROUP + 1:
        total = dot_records_of_four(indices, values, flat, first, end)
    else:
        for p in range(first, end):
            total += entry(values, p) * flat[place(entry(indices, p), 4, 0)]
    return total


@njit(fastmath=FAST, error_model="numpy")
def _scatter_one(
    indptr: Any, indices: Any, values: Any, flat: Any, halves: Any, i: int, e: float, steps: BlockSteps, l2: float
) -> None:
    """Make the part of row i in a step: one output, no threshold."""
    fresh, kept = steps.innovation * e, steps.share * e
    for p in range(entry(indptr, i), entry(indptr, i + 1)):
        j, x = entry(indices, p), entry(values, p)
        w, average, step = flat[place(j, 4, 0)], flat[place(j, 4, 1)], flat[place(j, 4, 2)]
        often, rate = np.float64(halves[place(j, 8, 6)]), np.float64(halves[place(j, 8, 7)])
        flat[place(j, 4, 0)] = w - step * (fresh * x + often * (average + l2 * rate * rate * w))
        flat[place(j, 4, 1)] = average + kept * x


@njit(fastmath=FAST, error_model="numpy")
def _scatter_sharp(
    indptr: Any, indices: Any, values: Any, flat: Any, halves: Any, i: int, e: float, steps: BlockSteps,
    strengths: Strengths,
) -> None:  # fmt: skip
    """Do as `_scatter_one` with a threshold."""
    innovation, share, l2, l1 = steps.innovation, steps.share, strengths.l2, strengths.l1
    for p in range(entry(indptr, i), entry(indptr, i + 1)):
        j, x = entry(indices, p), entry(values, p)
        w, average, step = flat[place(j, 4, 0)], flat[place(j, 4, 1)], flat[place(j, 4, 2)]
        often, rate = np.float64(halves[place(j, 8, 6)]), np.float64(halves[place(j, 8, 7)])
        moved = w - step * (innovation * e * x + often * (average + l2 * rate * rate * w))
        flat[place(j, 4, 0)] = _soft(moved, step * often * l1 * rate)
        flat[place(j, 4, 1)] = average + share * e * x


@njit(fastmath=FAST, error_model="numpy", inline="always")
def _margins(
    indptr: Any, indices: Any, values: Any, records: Any, k: int, count: int, near: int, z: Any, outputs: int
) -> None:
    """Put the margins of the block's rows into z; several outputs."""
    n, size, flat = len(indptr) - 1, records.shape[1], records.reshape(records.size)
    for b in range(count):
        _prefetch_records(indptr, indices, records, min(near + b, n - 1))
        for c in range(outputs):
            total = 0.0
            for p in range(indptr[k + b], indptr[k + b + 1]):
                total += entry(values, p) * flat[place(entry(indices, p), size, 2 * c)]
            z[b * outputs + c] = total


@njit(fastmath=FAST, error_model="numpy", inline="always")
def _scatter(
    rows: CsrArrays, records: Any, pairs: Any, k: int, count: int, e: Any, steps: BlockSteps, strengths: Strengths
) -> None:
    """Make the step of the block's rows; several outputs."""
    indptr, indices, values = rows.indptr, rows.indices, rows.values
    outputs = e.size // BLOCK
    innovation, share, l2, l1 = steps.innovation, steps.share, strengths.l2, strengths.l1
    step_at, pair_at = 2 * outputs + STEP, 2 * (2 * outputs + PAIR)
    for b in range(count):
        for p in range(indptr[k + b], indptr[k + b + 1]):
            j, x = np.uint64(np.uint32(entry(indices, p))), entry(values, p)
            step, pull = records[j, step_at], records[j, step_at] * pairs[j, pair_at]
            rate = np.float64(pairs[j, pair_at + 1])
            decay, cut = l2 * rate * rate, pull * l1 * rate
            for c in range(outputs):
                w, average, u = records[j, 2 * c], records[j, 2 * c + 1], e[b * outputs + c] * x
                w -= innovation * step * u + pull * (average + decay * w)
                if cut > 0.0:
                    w = _soft(w, cut)
                records[j, 2 * c] = w
                records[j, 2 * c + 1] = average + share * u


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def saga_sparse(
    rows: CsrArrays, labels: Labels, table: Any, records: Any, starts: Any, steps: BlockSteps, strengths: Strengths,
    slope_address: int,
) -> None:  # fmt: skip
    """Make one step of sparse SAGA for each block; changes table and records.

    Parameters
    ----------
    rows : CsrArrays
        Rows.
    labels : Labels
        Labels and weights of the rows.
    table : (n, outputs) float64 array
        Slope of each row at its last visit; changed in place.
    records : (width, 2 outputs + 2) float64 array
        Of each column: w and average of each output, step, the pair of `often` and rate; changed in place.
    starts : (steps,) int64 array
        First row of each step's block.
    steps : BlockSteps
        Rows of a block, and the factors of the step.
    strengths : Strengths
        l2 and l1.
    slope_address : int
        Address of the loss's slope (`mpiopt.kernels.loss_block`).
    """
    indptr, indices, values = rows.indptr, rows.indices, rows.values
    y, s, batch = labels.y, labels.weight, steps.batch
    n, outputs = len(y), table.shape[1]
    flat = records.reshape(records.size)
    halves = flat.view(np.float32)
    pairs = halves.reshape(records.shape[0], 2 * records.shape[1])
    z, e = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs)
    for t in range(len(starts)):
        k = starts[t]
        count = min(batch, n - k)
        near = _prefetch_block(indptr, indices, values, y, s, table, starts, batch, t)
        if outputs > 1:
            _margins(indptr, indices, values, records, k, count, near, z, outputs)
            call_block(slope_address, z, y, k, e, count, outputs)
            update_table(s, table, e, k, count, outputs)
            _scatter(rows, records, pairs, k, count, e, steps, strengths)
            continue
        # With one output records are not asked for ahead: on 500 to a million columns that took longer than it saved.
        for b in range(count):
            z[b] = _margin(indptr, indices, values, flat, k + b)
        call_block(slope_address, z, y, k, e, count, outputs)
        update_table(s, table, e, k, count, outputs)
        for b in range(count):
            if strengths.l1 > 0.0:
                _scatter_sharp(indptr, indices, values, flat, halves, k + b, e[b], steps, strengths)
            else:
                _scatter_one(indptr, indices, values, flat, halves, k + b, e[b], steps, strengths.l2)


@njit(fastmath=FAST, error_model="numpy")
def _affine(w: float, drift: float, m: float, decay: float, log_decay: float) -> float:
    """Return w after m times w ← decay w − drift, 0 < decay."""
    if decay == 1.0:
        return w - m * drift
    x = m * log_decay
    if x > -0.03:  # 1 - exp(x) without cancellation
        lost = -x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7))))))
    else:
        lost = 1.0 - exponential(x)
    return (1.0 - lost) * w - drift * (lost / (1.0 - decay))


@njit(fastmath=FAST, error_model="numpy")
def _caught_up(w: float, drift: float, m: float, decay: float, log_decay: float, cut: float) -> float:
    """Return w after m times w ← soft(decay w − drift, cut), with one closed form for each sign that w takes."""
    if not (abs(w) + abs(drift) < np.inf):
        return w - drift
    if cut == 0.0 and decay > 0.0:
        return _affine(w, drift, m, decay, log_decay)
    while m > 0.0:
        if w == 0.0 and abs(drift) <= cut:
            return 0.0
        if decay > 0.0:
            # While w keeps its sign, |w| ← decay |w| − fall.
            sign = 1.0 if w > 0.0 or (w == 0.0 and drift < 0.0) else -1.0
            fall = sign * drift + cut
            if fall <= 0.0:
                return sign * _affine(sign * w, fall, m, decay, log_decay)
            pieces = sign * w / fall if decay == 1.0 else -math.log1p(sign * w * (1.0 - decay) / fall) / log_decay
            whole = min(m, math.floor(pieces) - 1.0)  # one less: the step over 0 is made as it stands
            if whole > 0.0:
                w = sign * _affine(sign * w, fall, whole, decay, log_decay)
                m -= whole
        if m > 0.0:
            w = _soft(decay * w - drift, cut)
            m -= 1.0
    return w


@njit(fastmath=FAST, error_model="numpy")
def _catch_up(records: Any, j: int, outputs: int, t: float, l1: float) -> None:
    """Bring column j to the start of step t."""
    tail = 3 * outputs
    missed = t - records[j, tail + REACHED]
    if missed > 0.0:
        step, decay, log_decay = records[j, tail], records[j, tail + DECAY], records[j, tail + LOG_DECAY]
        cut = step * l1 * records[j, tail + RATE]
        for c in range(outputs):
            drift = step * records[j, 3 * c + 1]
            records[j, 3 * c] = _caught_up(records[j, 3 * c], drift, missed, decay, log_decay, cut)
        records[j, tail + REACHED] = t


@njit(fastmath=FAST, error_model="numpy")
def _move(records: Any, j: int, outputs: int, t: float, l1: float, innovation: float, share: float) -> None:
    """Make step t for column j: once, however many rows of the block have it."""
    tail = 3 * outputs
    if records[j, tail + REACHED] == t:
        step, decay = records[j, tail], records[j, tail + DECAY]
        cut = step * l1 * records[j, tail + RATE]
        for c in range(outputs):
            average, u = records[j, 3 * c + 1], records[j, 3 * c + 2]
            records[j, 3 * c] = _soft(decay * records[j, 3 * c] - step * (innovation * u + average), cut)
            records[j, 3 * c + 1] = average + share * u
            records[j, 3 * c + 2] = 0.0
        records[j, tail + REACHED] = t + 1.0


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def saga_lazy(
    rows: CsrArrays, labels: Labels, table: Any, records: Any, starts: Any, steps: BlockSteps, strengths: Strengths,
    slope_address: int,
) -> None:  # fmt: skip
    """Make one step for each block, each column when it is next met; changes table and records.

    Parameters
    ----------
    rows, labels, table, starts, steps, strengths, slope_address
        See `saga_sparse`; the ridge is in the records.
    records : (width, 3 outputs + 5) float64 array
        Of each column: w, average and u of each output, step, 1 − step ridge, its logarithm, the step reached,
        rate; changed in place.
    """
    indptr, indices, values = rows.indptr, rows.indices, rows.values
    y, s, batch = labels.y, labels.weight, steps.batch
    n, outputs = len(y), table.shape[1]
    l1 = strengths.l1
    z, e = np.empty(BLOCK * outputs), np.empty(BLOCK * outputs)
    for t in range(len(starts)):
        k = starts[t]
        count = min(batch, n - k)
        near = _prefetch_block(indptr, indices, values, y, s, table, starts, batch, t)
        z[:] = 0.0
        for b in range(count):
            _prefetch_records(indptr, indices, records, min(near + b, n - 1))
            for p in range(indptr[k + b], indptr[k + b + 1]):
                j = entry(indices, p)
                _catch_up(records, j, outputs, float(t), l1)
                for c in range(outputs):
                    z[b * outputs + c] += entry(values, p) * records[j, 3 * c]
        call_block(slope_address, z, y, k, e, count, outputs)
        update_table(s, table, e, k, count, outputs)
        for b in range(count):
            for p in range(indptr[k + b], indptr[k + b + 1]):
                for c in range(outputs):
                    records[entry(indices, p), 3 * c + 2] += e[b * outputs + c] * entry(values, p)
        for b in range(count):
            for p in range(indptr[k + b], indptr[k + b + 1]):
                j = entry(indices, p)
                _move(records, j, outputs, float(t), l1, steps.innovation, steps.share)
    for j in range(records.shape[0]):
        _catch_up(records, j, outputs, float(len(starts)), l1)
