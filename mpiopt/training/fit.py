"""`mpiopt.fit`: fit a model to rows in memory, of which each rank holds its own part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
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
from mpiopt.training.loop import run
from mpiopt.training.problem import pick, pose, target_of
from mpiopt.training.run_state import RunPlan

Matrix = NDArray[np.float64]

SHUFFLE = 2  # stream of randomness: the order of the caller's rows
COPY_ROWS = 4096  # rows copied at a time: the copy of a piece fits in the cache
COLUMN_SCALES = SCALES[:3]  # the ways to scale that act on columns


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model, equal on all ranks, and how the fit ended.

    Attributes
    ----------
    coef : ndarray, (outputs, d)
        Coefficients in the units of the caller's columns. The margins of a row x are coef · x + intercept.
    intercept : ndarray, (outputs,)
        Constants; 0 without an intercept. For several classes their mean is 0.
    classes : ndarray or None
        The labels, ascending; None for real targets. With two classes the one output is that of the second.
    loss : str
        Name of the loss.
    objective : float
        F(coef, intercept), in the units of the loss.
    certificate : float
        Bound on the distance to the optimum; see `certificate_kind`.
    certificate_kind : str
        "duality gap" (relative to the objective), or the relative norm of the gradient where there is no gap.
    certified : bool
        Whether the certificate reached `tol`.
    reason : str
        Why the fit ended, in words.
    history : list of HistoryRow
        One row for each exact evaluation: round, epoch, seconds, bytes, objective, certificate, step size.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> fit = mpiopt.fit(x, np.array([1.0, 3.0, 5.0, 7.0]), loss="squared", l2=0.0, tol=1e-12)
    >>> fit.certified, fit.coef.round(6).tolist(), fit.intercept.round(6).tolist()
    (True, [[2.0]], [1.0])
    """

    coef: Matrix
    intercept: Vector
    classes: NDArray[Any] | None
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

    The objective is (1/N) Σ s_i loss(W x_i + b, y_i) + l1 ‖W‖₁ + (l2/2) ‖W‖², with weights s_i of mean 1 and N the
    number of rows on all ranks.

    Parameters
    ----------
    x : array or sparse matrix, (n, d)
        This rank's rows; n may differ from rank to rank and may be 0. A sparse matrix needs the method `tocsr`.
    y : array, (n,)
        Labels of any kind that sorts, for classes; numbers, for real targets.
    comm : mpi4py communicator, Comm or None
        The ranks; None means one rank. An mpi4py communicator is duplicated, and the duplicate is freed at the end.
    sample_weight : array, (n,), optional
        Weights of the rows, at least 0; all 1 by default. Only their ratios matter.
    loss : str
        "logistic", "softmax", "squared-hinge", "squared", "huber" or "poisson", with options in brackets:
        "huber[delta=0.5]". "auto" chooses by the labels.
    l1 : float
        Strength of the lasso penalty, at least 0.
    l2 : float or str
        Strength of the ridge penalty, at least 0; "1/N" divides 1 by the sum of the weights.
    intercept : bool
        Whether to fit the constants b, which are not penalised.
    scale : str
        "none", "standard" (mean 0, deviation 1) or "maxabs" (largest entry 1) of the columns during the fit.
    algorithm : str
        Name of an algorithm with options in brackets; "auto" chooses by the size of the problem.
    compress : str
        Compressor of the exchanges with options in brackets; "none", or "auto" to choose by measured speeds.
    memory : str
        Error compensation of compressed exchanges: "none", "difference", "error-feedback"; "auto" is the
        algorithm's own.
    downlink : bool
        Whether to compress the way back from a sum, too.
    tol : float
        Tolerance of the certificate, greater than 0.
    max_epochs : float
        Budget of epochs (passes over all rows), at least 0.
    max_seconds : float
        Budget of seconds, at least 0.
    seed : int
        Seed of all randomness, at least 0.

    Returns
    -------
    Fit
        The model and how the fit ended. Look at `certified`: a fit that has spent its budget returns, too.

    Raises
    ------
    ValueError
        On all ranks: labels that fit no loss, NaN in the rows, an unknown name or an option out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = np.where(x @ [1.0, -2.0, 0.0] > 0, "yes", "no")
    >>> fit = mpiopt.fit(x, y, l2=0.01)
    >>> fit.certified, fit.loss, fit.classes.tolist(), fit.coef.shape
    (True, 'logistic', ['no', 'yes'], (1, 3))
    """
    model, stopping = Model(parse_spec(loss), l1, l2), Stopping(tol, max_epochs, max_seconds)
    exchange = Job(compress=parse_spec(compress), memory=memory, downlink=downlink, seed=seed)
    if scale not in COLUMN_SCALES:
        raise ValueError(f"scale must be one of {', '.join(COLUMN_SCALES)}; not {scale!r}")
    with communicator(comm) as ranks:
        order = generator(seed, SHUFFLE, 0, ranks.rank).permutation(np.shape(x)[0] if np.ndim(y) else 0)
        with ranks.agree_on_errors():
            rows, d, weight = copied_rows(x, y, sample_weight, intercept, order)
        ranks.agree(different_columns(ranks, d))
        target, names, label = labelled(np.asarray(y)[order], target_of(model), ranks)
        shard = make_shard(rows, d, intercept, label, weight, ranks)
        mean, spread = scaling.statistics(scale, rows, d, shard.total, ranks)
        scaling.apply(scale, rows, mean, spread)
        if intercept:
            row_formats.set_intercept(rows, d)
        if sample_weight is not None and l2 == "1/N":  # a row of weight 2 counts as two rows
            model = replace(model, l2=1.0 / float(ranks.sum(np.array([weight.sum()]))[0]))
        objective = pose(model, shard, target, names)
        chosen, _ = pick(parse_spec(algorithm), objective, tol, ranks, exchange.compress.name)
        channel, chosen, _ = open_channel(exchange, objective, chosen, ranks)
        now = run(RunPlan(stopping), objective, chosen, channel, StopSignal(), Clock(), lambda row: None)
    fitted = in_file_units(now.state.w, d, intercept, mean, spread)
    return Fit(
        coef=fitted.coef,
        intercept=centred(fitted.intercept),
        classes=names,
        loss=objective.loss.name,
        objective=now.exact.value,
        certificate=now.certificate.value,
        certificate_kind=now.certificate.kind,
        certified=now.ending == "certified",
        reason=now.reason,
        history=now.rows,
    )


def centred(intercept: Vector) -> Vector:
    """Return constants of several classes with mean 0: adding a number to all of them changes no prediction."""
    return intercept - intercept.mean() if len(intercept) > 1 else intercept


@contextmanager
def communicator(comm: Any) -> Iterator[Comm]:
    """Provide the ranks of None, of a `Comm`, or of an mpi4py communicator, which is duplicated and freed again."""
    if comm is None:
        yield single()
    elif isinstance(comm, Comm):
        yield comm
    elif not hasattr(comm, "Dup"):
        raise ValueError(
            f"comm is an mpi4py communicator, a mpiopt.comm.base.Comm or None, not {type(comm).__name__}"
        )
    else:
        from mpiopt.comm.mpi.comm import MpiComm

        with MpiComm(comm.Dup()) as ranks:
            yield ranks


def copied_rows(
    x: Any, y: ArrayLike, weight: ArrayLike | None, intercept: bool, order: NDArray[np.int64]
) -> tuple[Rows, int, Vector]:
    """Copy this rank's rows and weights in the given order, into the form of a shard; local.

    A random order is needed, because algorithms work on blocks of neighbouring rows.

    Returns
    -------
    rows : Rows
        (n, d) rows, with space for the column of the intercept.
    d : int
        Number of columns.
    weight : ndarray, (n,)
        Weights of the rows.

    Raises
    ------
    ValueError
        If shapes do not fit together, or numbers are not finite.
    """
    matrix = x.tocsr() if hasattr(x, "tocsr") else np.asarray(x)
    if matrix.ndim != 2:
        raise ValueError(f"x has the shape {matrix.shape}; it must be (rows, columns)")
    n, d = matrix.shape
    label = np.asarray(y)
    weights = np.ones(n) if weight is None else np.array(weight, dtype=np.float64)
    if label.shape != (n,) or weights.shape != (n,):
        raise ValueError(f"x has {n} rows, y the shape {label.shape}, sample_weight {weights.shape}")
    rows = csr_rows(matrix, intercept, order) if hasattr(x, "tocsr") else dense_rows(matrix, intercept, order)
    weights = weights[order]
    if not np.isfinite(rows.values).all():
        raise ValueError("x holds NaN or infinite values")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight holds negative, NaN or infinite values")
    return rows, d, weights


def dense_rows(x: NDArray[Any], intercept: bool, order: NDArray[np.int64]) -> DenseRows:
    """Copy dense rows in the given order, with a column for the intercept and zeros up to a multiple of 8."""
    n, d = x.shape
    kind = np.float32 if x.dtype == np.float32 else np.float64
    values = row_formats.aligned_zeros(n, row_formats.padded_width(d + intercept), kind)
    for start in range(0, n, COPY_ROWS):
        values[start : start + COPY_ROWS, :d] = x[order[start : start + COPY_ROWS]]
    return DenseRows(values)


def csr_rows(x: Any, intercept: bool, order: NDArray[np.int64]) -> CsrRows:
    """Copy CSR rows in the given order, with space for the 1 of the intercept at the end of each."""
    d, x = x.shape[1], x if x.has_sorted_indices else x.sorted_indices()
    values = x.data if x.data.dtype in (np.float32, np.float64) else x.data.astype(np.float64)
    begins, indices = x.indptr.astype(np.int64, copy=False), x.indices.astype(np.int32, copy=False)
    indptr = np.concatenate([[0], np.cumsum(np.diff(begins)[order] + intercept)])
    rows = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], values.dtype), d + intercept)
    gather(order, begins, indices, values, indptr[:-1], rows.indices, rows.values)
    if intercept:
        rows.indices[indptr[1:] - 1], rows.values[indptr[1:] - 1] = d, 0.0
    return rows


def different_columns(ranks: Comm, d: int) -> ValueError | None:
    """Return an error if the ranks have different numbers of columns; collective."""
    found = np.unique(np.concatenate(ranks.allgather(np.array([d]))))
    return ValueError(f"the ranks have different numbers of columns: {found.tolist()}") if len(found) > 1 else None


def labelled(y: NDArray[Any], target: str, ranks: Comm) -> tuple[str, NDArray[Any] | None, Vector]:
    """Return the kind of target, the classes over all ranks, and the labels as the loss takes them; collective.

    The classes are None for real targets.
    """
    numbers = y.dtype.kind in "fiub"
    mine = json.dumps(np.unique(y)[: MAX_CLASSES + 1].tolist()).encode()
    every = [json.loads(part.tobytes()) for part in ranks.allgather(np.frombuffer(mine, np.uint8))]
    values = np.unique(np.array([value for part in every for value in part]))
    if target == "auto":
        target = guess_target(values) if numbers else ("binary" if len(values) == 2 else "multiclass")
    if target in ("real", "count"):
        finite = numbers and np.isfinite(y).all()
        ranks.agree(None if finite else ValueError("y holds values that are not finite numbers"))
        find_classes("y", values, target, loss_targets())
        return target, None, y.astype(np.float64)
    find_classes("y", values if numbers else np.arange(len(values)).astype(np.float64), target, loss_targets())
    number = np.searchsorted(values, y).astype(np.float64)
    return target, values, 2.0 * number - 1.0 if target == "binary" else number


def make_shard(rows: Rows, d: int, intercept: bool, label: Vector, weight: Vector, ranks: Comm) -> Shard:
    """Return the shard of this rank; in the order of all rows the ranks follow one another; collective."""
    lengths = [int(part[0]) for part in ranks.allgather(np.array([len(rows)]))]
    total = sum(lengths)
    if total == 0:
        raise ValueError("there are no rows on any rank")
    whole = float(ranks.sum(np.array([weight.sum()]))[0])
    if whole <= 0:
        raise ValueError("all sample weights are zero; at least one must be positive")
    order = np.arange(len(rows), dtype=np.int64)
    start = sum(lengths[: ranks.rank])
    return Shard(rows, label, weight * (total / whole), order, start, total, d, intercept)
