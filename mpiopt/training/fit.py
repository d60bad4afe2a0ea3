"""`mpiopt.fit`: a model from rows that the caller already holds, on each rank its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.threads import single
from mpiopt.core.config.job import SCALES, Job, Model, Stopping
from mpiopt.core.config.spec import parse_spec
from mpiopt.core.history import Clock, HistoryRow
from mpiopt.core.rng import generator
from mpiopt.data import row_formats, scaling
from mpiopt.data.labels import MAX_CLASSES, find_classes, guess_target
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Shard, Vector
from mpiopt.kernels.row_moves import gather
from mpiopt.objective.losses.base import loss_targets
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.model import in_file_units
from mpiopt.training.channel_setup import open_channel
from mpiopt.training.loop import RunPlan, run
from mpiopt.training.problem import pick, pose, target_of

Matrix = NDArray[np.float64]

SHUFFLE = 2  # stream of randomness: the order of the caller's rows
PIECE = 4096  # rows copied at a time


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model, equal on all ranks, and how it came about."""

    coef: Matrix  # (outputs, d)
    intercept: Vector  # (outputs,)
    classes: NDArray[Any] | None  # the labels, ascending; None for real targets
    loss: str
    objective: float
    certificate: float
    certificate_kind: str
    certified: bool
    reason: str
    history: list[HistoryRow]


def fit(
    x: Any,
    y: ArrayLike,
    comm: Any = None,
    *,
    sample_weight: ArrayLike | None = None,
    loss: str = "auto",
    l1: float = 0.0,
    l2: float | str = "1/N",
    intercept: bool = True,
    scale: str = "none",
    algorithm: str = "auto",
    compress: str = "none",
    memory: str = "auto",
    downlink: bool = False,
    tol: float = 1e-6,
    max_epochs: float = 1000.0,
    max_seconds: float = float("inf"),
    seed: int = 0,
) -> Fit:
    """Fit a model to the rows of all ranks; collective over `comm`.

    `x` is (n, d), an array or a sparse matrix with `tocsr`: this rank's rows; n may differ from rank to rank and be
    0. `y` is (n,), labels of any kind for classes, numbers for real targets. The N of `l2` "1/N" is the sum of the
    weights. `comm` is an mpi4py communicator, a `mpiopt.comm.base.Comm`, or None for one rank alone. `loss` and
    `algorithm` are as on the command line, options in brackets: "huber[delta=0.5]"; so are `compress`, `memory` and
    `downlink`, which make exchanges cheaper.

    Raises
    ------
    ValueError
        On all ranks alike: labels that fit no loss, NaN in the rows, options out of range.
    """
    ranks = communicator(comm)
    model, stopping = Model(parse_spec(loss), l1, l2), Stopping(tol, max_epochs, max_seconds)
    order = generator(seed, SHUFFLE, 0, ranks.rank).permutation(np.shape(x)[0] if np.ndim(y) else 0)
    with ranks.agree_on_errors():
        rows, d, weight = checked(x, y, sample_weight, intercept, order)
    ranks.agree(same_columns(ranks, d, len(rows)))
    target, classes, label = labelled(np.asarray(y)[order], target_of(model), ranks)
    if scale not in SCALES[:3]:
        raise ValueError(f"scale must be one of {', '.join(SCALES[:3])}; not {scale!r}")
    shard = placed(rows, d, intercept, label, weight, ranks)
    columns = scaling.statistics(scale, rows, d, shard.total, ranks)
    scaling.apply(scale, rows, *columns)
    if intercept:
        row_formats.set_intercept(rows, d)
    if sample_weight is not None and l2 == "1/N":  # a row of weight 2 is two rows
        model = replace(model, l2=1.0 / float(ranks.sum(np.array([weight.sum()]))[0]))
    objective = pose(model, shard, target, classes)
    exchange = Job(compress=parse_spec(compress), memory=memory, downlink=downlink, seed=seed)
    chosen, _ = pick(parse_spec(algorithm), objective, tol, ranks, exchange.compress.name)
    channel, chosen, _ = open_channel(exchange, objective, chosen, ranks)
    now = run(RunPlan(stopping), objective, chosen, channel, StopSignal(), Clock(), lambda row: None)
    fitted = in_file_units(now.state.w, d, intercept, *columns)
    return Fit(
        coef=fitted.coef,
        intercept=centred(fitted.intercept),
        classes=classes,
        loss=objective.loss.name,
        objective=now.exact.value,
        certificate=now.certificate.value,
        certificate_kind=now.certificate.kind,
        certified=now.ending == "certified",
        reason=now.reason,
        history=now.rows,
    )


def centred(intercept: Vector) -> Vector:
    """Give the constants of several classes the mean 0: the same number more on all of them changes nothing."""
    return intercept - intercept.mean() if len(intercept) > 1 else intercept


def communicator(comm: Any) -> Comm:
    """Give the verbs over what the caller has: nothing, verbs, or an mpi4py communicator (which is duplicated)."""
    if comm is None:
        return single()
    if isinstance(comm, Comm):
        return comm
    if not hasattr(comm, "Dup"):
        raise ValueError(
            f"comm is an mpi4py communicator, a mpiopt.comm.base.Comm or None, not {type(comm).__name__}"
        )
    from mpiopt.comm.mpi.comm import MpiComm

    return MpiComm(comm.Dup())


def checked(
    x: Any, y: ArrayLike, weight: ArrayLike | None, intercept: bool, order: NDArray[np.int64]
) -> tuple[Rows, int, Vector]:
    """Give this rank's rows in the form of a shard and in a random order, which blocks of rows need, and weights.

    Raises
    ------
    ValueError
        For what does not fit.
    """
    matrix = x.tocsr() if hasattr(x, "tocsr") else np.asarray(x)
    if matrix.ndim != 2:
        raise ValueError(f"x has the shape {matrix.shape}; it must be (rows, columns)")
    n, d = matrix.shape
    label = np.asarray(y)
    weights = np.ones(n) if weight is None else np.array(weight, dtype=np.float64)
    if label.shape != (n,) or weights.shape != (n,):
        raise ValueError(f"x has {n} rows, y the shape {label.shape}, sample_weight {weights.shape}")
    rows = compressed(matrix, intercept, order) if hasattr(x, "tocsr") else padded(matrix, intercept, order)
    weights = weights[order]
    if not np.isfinite(rows.values).all():
        raise ValueError("x holds NaN or infinite values")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight holds negative, NaN or infinite values")
    return rows, d, weights


def padded(x: NDArray[Any], intercept: bool, order: NDArray[np.int64]) -> DenseRows:
    """Copy dense rows in the given order, with a column for the intercept and zeros up to a multiple of 8."""
    n, d = x.shape
    values = row_formats.aligned_zeros(
        n, row_formats.padded_width(d + intercept), np.float32 if x.dtype == np.float32 else np.float64
    )
    for start in range(0, n, PIECE):
        values[start : start + PIECE, :d] = x[order[start : start + PIECE]]
    return DenseRows(values)


def compressed(x: Any, intercept: bool, order: NDArray[np.int64]) -> CsrRows:
    """Copy CSR rows in the given order, with room for the intercept's 1 at the end of each."""
    d, x = x.shape[1], x if x.has_sorted_indices else x.sorted_indices()
    values = x.data if x.data.dtype in (np.float32, np.float64) else x.data.astype(np.float64)
    begins, indices = x.indptr.astype(np.int64, copy=False), x.indices.astype(np.int32, copy=False)
    indptr = np.concatenate([[0], np.cumsum(np.diff(begins)[order] + intercept)])
    rows = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], values.dtype), d + intercept)
    gather(order, begins, indices, values, indptr[:-1], rows.indices, rows.values)
    if intercept:
        rows.indices[indptr[1:] - 1], rows.values[indptr[1:] - 1] = d, 0.0
    return rows


def same_columns(ranks: Comm, d: int, n: int) -> ValueError | None:
    """Give an error where ranks have different numbers of columns."""
    found = np.unique(np.concatenate(ranks.allgather(np.array([d]))))
    return ValueError(f"the ranks have different numbers of columns: {found.tolist()}") if len(found) > 1 else None


def labelled(y: NDArray[Any], target: str, ranks: Comm) -> tuple[str, NDArray[Any] | None, Vector]:
    """Give the target, the classes over all ranks (None for real targets), and the labels as the loss takes them."""
    numbers = y.dtype.kind in "fiub"
    mine = json.dumps(np.unique(y)[: MAX_CLASSES + 1].tolist()).encode()
    every = [json.loads(part.tobytes()) for part in ranks.allgather(np.frombuffer(mine, np.uint8))]
    values = np.unique(np.array([value for part in every for value in part]))
    if target == "auto":
        target = guess_target(values) if numbers else ("binary" if len(values) == 2 else "multiclass")
    if target in ("real", "count"):
        ranks.agree(None if numbers and np.isfinite(y).all() else ValueError("y holds what is no finite number"))
        find_classes("y", values, target, loss_targets())
        return target, None, y.astype(np.float64)
    find_classes("y", values if numbers else np.arange(len(values)).astype(np.float64), target, loss_targets())
    number = np.searchsorted(values, y).astype(np.float64)
    return target, values, 2.0 * number - 1.0 if target == "binary" else number


def placed(rows: Rows, d: int, intercept: bool, label: Vector, weight: Vector, ranks: Comm) -> Shard:
    """Give the shard: the sequence of all rows is the ranks' rows one after the other."""
    lengths = [int(part[0]) for part in ranks.allgather(np.array([len(rows)]))]
    total = sum(lengths)
    if total == 0:
        raise ValueError("there are no rows on any rank")
    whole = float(ranks.sum(np.array([weight.sum()]))[0])
    if whole <= 0:
        raise ValueError("all sample weights are zero; at least one must be above")
    order = np.arange(len(rows), dtype=np.int64)
    start = sum(lengths[: ranks.rank])
    return Shard(rows, label, weight * (total / whole), order, start, total, d, intercept)
