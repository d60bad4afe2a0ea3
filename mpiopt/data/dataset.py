"""From a file to this rank's shard: read, send every row to its owner, scale, map the labels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import DataOptions
from mpiopt.data import labels, row_order, scaling
from mpiopt.data.formats.base import PIECE, RawRows, Source, find
from mpiopt.data.loader import LoadedRows, RowLayout, checked, load
from mpiopt.data.row_formats import single, with_ones
from mpiopt.data.row_order import Holdout
from mpiopt.data.shard import DenseRows, Shard, Vector


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set as one rank sees it."""

    shard: Shard
    classes: NDArray[np.float64] | None  # labels as in the file: [0] -> -1, [1] -> +1, or class numbers; None: real
    mean: Vector  # (d,) the column used is (x - mean) / scale
    scale: Vector  # (d,)
    names: list[str] | None  # of the features
    target: str  # what the labels were taken for: "binary", "multiclass", "real" or "count"
    checksum: str  # of the training file's content, the same on any number of ranks and in any format
    test: Shard | None
    source: str
    bytes_read: int  # over all ranks
    seconds_load: float


def prepare(
    path: str,
    target: str,
    options: DataOptions,
    seed: int,
    comm: Comm,
    losses: Mapping[str, str] = MappingProxyType({}),
) -> Dataset:
    """Read a data set and give this rank its shard; collective.

    Rows are dense if enough of their entries are nonzero (`loading.dense_from`), else CSR. The sequence, the
    classes, the scaling and the checksum do not depend on the number of ranks, to the last bit.
    `losses` maps each loss to its target, for the message where labels do not fit.
    `target` is what the loss takes: "binary", "multiclass", "real", "count", or "auto" for what the labels look like.

    Raises
    ------
    ValueError
        On all ranks: one line that names the file, the place, what was found and what is allowed.
    """
    return arranged(path, _open(path, options, options.features, comm), target, options, seed, comm, losses)


def arranged(
    path: str,
    source: Source,
    target: str,
    options: DataOptions,
    seed: int,
    comm: Comm,
    losses: Mapping[str, str] = MappingProxyType({}),
) -> Dataset:
    """Do as `prepare` with a source that is open; `path` names it in messages."""
    began = time.perf_counter()
    holdout = Holdout(options.holdout, source.total, seed, comm)
    order = _order(path, source, options.shards, holdout, seed, comm)
    arrangement = RowLayout(
        options.intercept, _dtype(options), options.features, dense=None, shuffled=options.shards != "shuffled"
    )
    main, held, seen = load(path, source, arrangement, order, holdout, seed, comm)
    _need_labels(path, seen.unlabelled)
    plan = _plan(path, main, held, target, options, comm, losses)
    shard = plan.shard(path, main, seen.weighted, comm)
    test = plan.shard(path, held, seen.weighted, comm) if held else _test(options, plan, main, seed, comm)
    nbytes = int(comm.sum(np.array([source.nbytes]))[0])
    checksum = f"{seen.checksum:016x}"
    if source.checksum not in (None, checksum):
        raise ValueError(f"{path}: is damaged: its content has checksum {checksum}, not {source.checksum} as it says")
    seconds = time.perf_counter() - began
    return Dataset(
        shard, plan.classes, plan.mean, plan.scale, source.names, plan.target, checksum, test, path, nbytes, seconds
    )


def stream(path: str, options: DataOptions, comm: Comm, nbytes: int = PIECE) -> Iterator[RawRows]:
    """Read this rank's rows of a file in bounded pieces, labels unmapped, nothing scaled.

    Opening is collective; the iterator is local and raises this rank's errors. `options.features` is the number of
    features of the model; more are refused.
    """
    return checked(path, _open(path, options, options.features, comm).pieces(nbytes))


@dataclass(frozen=True, eq=False)
class _Plan:
    """What makes a shard of loaded rows: classes and scaling."""

    target: str
    classes: NDArray[np.float64] | None
    mean: Vector
    scale: Vector
    options: DataOptions

    def shard(self, path: str, loaded: LoadedRows, weighted: bool, comm: Comm) -> Shard:
        """Scale the rows in place, set the intercept's column, map the labels, normalise the weights."""
        d = loaded.features
        scaling.apply(self.options.scale, loaded.rows, self.mean, self.scale)
        rows = with_ones(loaded.rows, d) if self.options.intercept else loaded.rows
        rows = single(rows) if self.options.float32 else rows
        with comm.agree_on_errors():
            label = self._mapped(path, loaded.label)
        weight = loaded.weight
        if weighted:
            whole = scaling.total_weight(weight, comm)
            if whole <= 0:
                raise ValueError(f"{path}: all weights are zero; at least one must be above")
            weight = weight * (loaded.total / whole)
        return Shard(rows, label, weight, loaded.order, loaded.start, loaded.total, d, self.options.intercept)

    def _mapped(self, path: str, label: Vector) -> Vector:
        if self.classes is None:
            return label
        return labels.mapped(path, label, self.classes, self.target)


def _plan(
    path: str,
    main: LoadedRows,
    held: LoadedRows | None,
    target: str,
    options: DataOptions,
    comm: Comm,
    losses: Mapping[str, str],
) -> _Plan:
    every = np.concatenate([main.label, held.label]) if held else main.label
    distinct = labels.distinct(every, comm)
    target = labels.guess(distinct) if target == "auto" else target
    classes = labels.classes(path, distinct, target, losses)
    mean, scale = scaling.statistics(options.scale, main.rows, main.features, main.total, comm)
    return _Plan(target, classes, mean, scale, options)


def _test(options: DataOptions, plan: _Plan, main: LoadedRows, seed: int, comm: Comm) -> Shard | None:
    """Prepare the test file, if any, as the training set was."""
    if not options.test:
        return None
    source = _open(options.test, options, main.features, comm)
    dense = isinstance(main.rows, DenseRows)
    arrangement = RowLayout(options.intercept, _dtype(options), main.features, dense)
    nothing = Holdout(0.0, source.total, seed, comm)
    loaded, _, seen = load(options.test, source, arrangement, row_order.contiguous, nothing, seed, comm)
    _need_labels(options.test, seen.unlabelled)
    return plan.shard(options.test, loaded, seen.weighted, comm)


def _open(path: str, options: DataOptions, features: int | None, comm: Comm) -> Source:
    with comm.agree_on_errors():
        reader = find(path, options.format)
    source = reader.open(path, comm, features)
    if source.total == 0:
        raise ValueError(f"{path}: has no rows")
    return source


def _order(path: str, source: Source, shards: str, holdout: Holdout, seed: int, comm: Comm) -> row_order.Order:
    kept = source.total - holdout.held
    if kept == 0:
        raise ValueError(f"{path}: no row is left to train on after the hold-out")
    if shards == "sorted-by-label":
        with comm.agree_on_errors():
            label, numbers = _labels(path, source, holdout)
        return row_order.by_label(label, numbers, comm)
    if shards == "shuffled":
        return row_order.shuffled(kept, seed)
    return row_order.round_robin(kept) if shards == "round-robin" else row_order.contiguous


def _labels(path: str, source: Source, holdout: Holdout) -> tuple[Vector, row_order.Numbers]:
    """Read the labels of this rank's rows that are kept, and their numbers, in a pass of its own."""
    found, numbers = [np.empty(0)], [np.empty(0, np.int64)]
    for piece in checked(path, source.pieces(PIECE)):
        mask, number = holdout.split(piece.start, len(piece))
        found.append(piece.label[~mask])
        numbers.append(number[~mask])
    return np.concatenate(found), np.concatenate(numbers)


def _need_labels(path: str, unlabelled: bool) -> None:
    if unlabelled:
        raise ValueError(f"{path}: has no labels to train on")


def _dtype(options: DataOptions) -> type[np.floating]:
    """Give the type in which rows arrive: scaling is done in float64 before the rounding."""
    return np.float32 if options.float32 and options.scale == "none" else np.float64
