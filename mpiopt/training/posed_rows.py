"""The rows of a caller of `mpiopt.fit` as a shard, with the problem that they pose."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Model
from mpiopt.data import row_formats, scaling
from mpiopt.data.array_checks import check_labels, check_numbers, check_sparse
from mpiopt.data.coordinates import Coordinates, as_given, standardised
from mpiopt.data.labels import MAX_CLASSES, NUMBERS, are_many, find_classes, fits, guess_target
from mpiopt.data.offsets import beside
from mpiopt.data.row_order import drawn_order
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Shard, Vector
from mpiopt.data.weightless import empty_offsets, empty_weightless
from mpiopt.inference.units import ColumnUnits
from mpiopt.kernels.row_moves import copy_dense, gather
from mpiopt.objective.losses.base import loss_targets
from mpiopt.objective.objective import Objective
from mpiopt.training import frame_names
from mpiopt.training.label_origin import without_label_origin
from mpiopt.training.problem import pose, target_of

COPY_ROWS = 4096  # rows copied at a time: the copy of a piece fits in the cache


@dataclass(frozen=True)
class Settings:
    """What a fit minimises, as it was asked for."""

    model: Model
    intercept: bool
    scale: str
    coordinates: str
    matrix: ArrayLike | None = None  # of a ridge, in place of a file


@dataclass(frozen=True, eq=False)
class PosedRows:
    """This rank's rows with the problem that they pose."""

    objective: Objective
    classes: NDArray[Any] | None
    mean: Vector  # (d,) scaling of the columns: (x - mean)/scale
    scale: Vector
    coordinates: Coordinates  # of the scaled columns, in which the algorithm works
    names: list[str] | None  # titles of the columns

    @property
    def units(self) -> ColumnUnits:
        """From the columns of the objective to those of the caller."""
        return ColumnUnits.of(self.mean, self.scale, self.coordinates, self.objective.shard.intercept)


def posed_rows(
    x: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    settings: Settings,
    order: NDArray[np.int64],
    ranks: Comm,
    offset: Vector | None = None,
    parts: NDArray[np.int64] | None = None,
) -> PosedRows:
    """Copy this rank's rows in the given order, scale and move their columns, and pose the problem; collective.

    `offset` is what the margins have beside the model's, on all ranks or on none.
    """
    model, intercept = settings.model, settings.intercept
    with ranks.agree_on_errors():
        rows, d, weight = copied_rows(x, y, sample_weight, intercept, order)
    ranks.agree(different_columns(ranks, d))
    target, classes, label = labelled(np.asarray(y)[order], target_of(model), ranks)
    shard = replace(make_shard(rows, d, intercept, label, weight, ranks), parts=parts)
    mean, scale = scaling.statistics(settings.scale, rows, d, shard.total, ranks)
    scaling.apply(settings.scale, rows, mean, scale)
    inner = as_given(d)
    if settings.coordinates == "standardised":
        inner = standardised(rows, shard.weight, d, intercept, ranks)
        shard = replace(shard, rows=inner.move(rows), column_scale=inner.scale, far=inner.far)
    label = empty_weightless(shard.rows, shard.label, shard.weight)
    offset = None if offset is None else offset[order]
    shard = replace(shard, label=beside(label, empty_offsets(offset, shard.weight)))
    if intercept:
        row_formats.set_intercept(shard.rows, d)
    if sample_weight is not None and model.l2 == "1/N":  # a row of weight 2 counts as two rows
        model = replace(model, l2=1.0 / float(ranks.sum(np.array([weight.sum()]))[0]))
    titles = frame_names.feature_names(x)
    names = None if titles is None else [str(title) for title in titles]
    objective = pose(model, shard, target, classes)
    if settings.coordinates == "standardised":
        objective, inner = without_label_origin(objective, inner, ranks)
    return PosedRows(objective, classes, mean, scale, inner, names)


def order_of_rows(x: Any, y: Any, seed: int, ranks: Comm) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order in which this rank's rows are copied, and `Shard.parts`; collective."""
    with ranks.agree_on_errors():
        n = np.shape(x)[0] if np.ndim(y) else 0
    before = ranks.allgather(np.array([n]))[: ranks.rank]
    return drawn_order(sum(int(part[0]) for part in before), n, seed)


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
    if hasattr(x, "tocsr"):
        check_sparse(x)
    matrix = x.tocsr() if hasattr(x, "tocsr") else check_numbers("x", x)
    if matrix.ndim != 2:
        raise ValueError(f"x has the shape {matrix.shape}; it must be (rows, columns)")
    n, d = matrix.shape
    label = check_labels(y)
    weights = np.ones(n) if weight is None else np.array(check_numbers("sample_weight", weight), dtype=np.float64)
    if label.shape != (n,) or weights.shape != (n,):
        raise ValueError(f"x has {n} rows, y the shape {label.shape}, sample_weight {weights.shape}")
    rows = csr_rows(matrix, intercept, order) if hasattr(x, "tocsr") else dense_rows(matrix, intercept, order)
    weights = weights[order]
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight holds negative, NaN or infinite values")
    return rows, d, weights


def dense_rows(x: NDArray[Any], intercept: bool, order: NDArray[np.int64]) -> DenseRows:
    """Copy dense rows in the given order, with a column for the intercept and zeros up to a multiple of 8."""
    n, d = x.shape
    kind = np.float32 if x.dtype == np.float32 else np.float64
    values = row_formats.aligned_zeros(n, row_formats.padded_width(d + intercept), kind)
    if x.dtype == kind and x.flags.c_contiguous and x.flags.behaved:  # one compiled form is enough
        finite = copy_dense(order, x, values)
    else:
        finite = True
        for start in range(0, n, COPY_ROWS):
            piece = np.ascontiguousarray(x[order[start : start + COPY_ROWS]], kind)
            finite &= copy_dense(np.arange(len(piece)), piece, values[start : start + COPY_ROWS])
    _refuse_not_finite(finite)
    return DenseRows(values)


def _refuse_not_finite(finite: bool) -> None:
    """Raise ValueError unless all numbers are finite."""
    if not finite:
        raise ValueError("x holds NaN or infinite values")


def csr_rows(x: Any, intercept: bool, order: NDArray[np.int64]) -> CsrRows:
    """Copy CSR rows in the given order, with space for the 1 of the intercept at the end of each."""
    d, x = x.shape[1], canonical(x)
    values = x.data if x.data.dtype in (np.float32, np.float64) else x.data.astype(np.float64)
    begins, indices = x.indptr.astype(np.int64, copy=False), x.indices.astype(np.int32, copy=False)
    indptr = np.concatenate([[0], np.cumsum(np.diff(begins)[order] + intercept)])
    rows = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], values.dtype), d + intercept)
    gather(order, begins, indices, values, indptr[:-1], rows.indices, rows.values)
    if intercept:
        rows.indices[indptr[1:] - 1], rows.values[indptr[1:] - 1] = d, 0.0
    _refuse_not_finite(bool(np.isfinite(rows.values).all()))
    return rows


def canonical(x: Any) -> Any:
    """Return a scipy.sparse matrix as CSR with ascending columns in each row, each of them once."""
    matrix = x.tocsr()
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def different_columns(ranks: Comm, d: int) -> ValueError | None:
    """Return an error if the ranks have different numbers of columns; collective."""
    found = np.unique(np.concatenate(ranks.allgather(np.array([d]))))
    return ValueError(f"the ranks have different numbers of columns: {found.tolist()}") if len(found) > 1 else None


def labelled(y: NDArray[Any], target: str, ranks: Comm) -> tuple[str, NDArray[Any] | None, Vector]:
    """Return the kind of target, the classes over all ranks, and the labels as the loss takes them; collective.

    The classes are None for real targets.
    """
    ranks.agree(_unlike_labels(y))
    mine_numbers = y.dtype.kind in "fiub"
    finite = not mine_numbers or np.isfinite(y).all()
    ranks.agree(None if finite else ValueError("y holds values that are not finite numbers"))
    target = "real" if target == "auto" and _are_many_numbers(y, ranks) else target
    if target in NUMBERS and _are_numbers(y, target, ranks):
        return target, None, y.astype(np.float64)
    mine = json.dumps([mine_numbers or len(y) == 0, np.unique(y)[: MAX_CLASSES + 1].tolist()]).encode()
    every = [json.loads(part.tobytes()) for part in ranks.allgather(np.frombuffer(mine, np.uint8))]
    numbers = all(part[0] for part in every)  # a rank without rows has labels of any kind
    y = y if len(y) or numbers else y.astype(str)
    values = np.unique(np.array([value for part in every for value in part[1]]))
    if not len(values):
        raise ValueError("x has no rows")
    if target == "auto":
        target = guess_target(values) if numbers else ("binary" if len(values) == 2 else "multiclass")
    if target in NUMBERS:
        ranks.agree(None if numbers else ValueError("y holds values that are not finite numbers"))
        find_classes("y", values, target, loss_targets())
        return target, None, y.astype(np.float64)
    codes = values if numbers else np.arange(len(values)).astype(np.float64)
    find_classes("y", codes, target, loss_targets(), () if numbers else values.tolist())
    number = np.searchsorted(values, y).astype(np.float64)
    return target, values, 2.0 * number - 1.0 if target == "binary" else number


def _unlike_labels(y: NDArray[Any]) -> ValueError | None:
    """Return an error for labels of which some are words and others numbers."""
    if y.dtype.kind != "O":
        return None
    kinds = {"number" if issubclass(kind, Real) else kind.__name__ for kind in {*map(type, y.tolist())}}
    if len(kinds) <= 1:
        return None
    return ValueError(f"y holds labels of several kinds: {', '.join(sorted(kinds))}; give words or numbers alone")


def _are_many_numbers(y: NDArray[Any], ranks: Comm) -> bool:
    """Return whether the labels of all ranks are numbers, and too many for classes that are guessed; collective."""
    mine = y.dtype.kind in "fiub"
    words, many = ranks.max(np.array([float(not mine and len(y) > 0), float(mine and are_many(y))]))
    return bool(many > words)


def _are_numbers(y: NDArray[Any], target: str, ranks: Comm) -> bool:
    """Return whether the labels of all ranks are numbers that fit a target, by the least and the largest; collective.

    Distinct labels, of which there may be as many as rows, are listed for a message alone.
    """
    mine = y.astype(np.float64) if y.dtype.kind in "fiub" else np.zeros(0)
    other = float(len(mine) < len(y))
    words, low, high = ranks.max(np.array([other, -mine.min(initial=np.inf), mine.max(initial=-np.inf)]))
    return bool(words == 0.0 and -low <= high and fits(np.array([-low, high]), target))


def make_shard(rows: Rows, d: int, intercept: bool, label: Vector, weight: Vector, ranks: Comm) -> Shard:
    """Return the shard of this rank; in the order of all rows the ranks follow one another; collective."""
    lengths = [int(part[0]) for part in ranks.allgather(np.array([len(rows)]))]
    total = sum(lengths)
    if total == 0:
        raise ValueError("there are no rows on any rank")
    with np.errstate(over="ignore"):
        whole = float(ranks.sum(np.array([weight.sum()]))[0])
    if whole <= 0:
        raise ValueError("all sample weights are zero; at least one must be positive")
    if not (total / sys.float_info.max < whole < np.inf):
        raise ValueError(f"the sum of the sample weights is {whole:g}; divide them: only their ratios matter")
    order = np.arange(len(rows), dtype=np.int64)
    start = sum(lengths[: ranks.rank])
    shard = Shard(rows, label, weight * (total / whole), order, start, total, d, intercept)
    return replace(shard, weight_unit=whole / total)
