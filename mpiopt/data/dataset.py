"""From a file to this rank's shard: open, partition, read and send, assemble, scale, map the labels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import DataOptions
from mpiopt.data import labels, scaling
from mpiopt.data.formats.base import PIECE, RawRows, Source, open_source
from mpiopt.data.loader import RowLayout, load
from mpiopt.data.redistribute import LoadedRows
from mpiopt.data.row_checks import FileStatistics, check_pieces
from mpiopt.data.row_formats import set_intercept, to_float32
from mpiopt.data.row_order import partition_rows
from mpiopt.data.shard import DenseRows, Shard, Vector

NO_LOSSES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set as one rank has it."""

    shard: Shard
    classes: Vector | None  # labels as in the file: [0] -> -1, [1] -> +1, or class numbers; None: real targets
    mean: Vector  # (d,) the column used is (x - mean) / scale
    scale: Vector  # (d,)
    names: list[str] | None  # of the features
    target: str  # kind of the labels: "binary", "multiclass", "real" or "count"
    checksum: str  # of the training file's content, the same on any number of ranks and in any format
    test: Shard | None
    source: str
    bytes_read: int  # over all ranks
    seconds_load: float


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """What the training rows determine for all rows: the scaling of the columns and the classes of the labels."""

    target: str
    classes: Vector | None
    mean: Vector
    scale: Vector


def prepare(
    path: str,
    target: str,
    options: DataOptions,
    seed: int,
    comm: Comm,
    losses: Mapping[str, str] = NO_LOSSES,
) -> Dataset:
    """Read a data set and return this rank's shard of it; collective.

    Rows are stored dense if enough of their entries are nonzero (`FileStatistics.prefers_dense`), else as CSR. The
    sequence of the rows, the classes, the scaling and the checksum do not depend on the number of ranks, to the last
    bit.

    Parameters
    ----------
    path : str
        The file, or a recipe `generate:n=…,d=…`.
    target : str
        The kind of labels that the loss takes: "binary", "multiclass", "real", "count", or "auto" to
        decide by the labels.
    options : DataOptions
        Format, scaling, order of the rows, hold-out.
    seed : int
        Seed of the order of the rows and of the hold-out.
    comm : Comm
        The ranks that share the rows.
    losses : mapping of str to str
        The target of each loss, for the message where the labels do not fit.

    Returns
    -------
    Dataset
        This rank's rows, and what all ranks know of the data set.

    Raises
    ------
    ValueError
        On all ranks: one line that names the file, the place, what was found and what is allowed.

    Examples
    --------
    >>> from mpiopt.comm.threads import spmd
    >>> from mpiopt.core.config.job import DataOptions
    >>> sets = spmd(2, lambda comm: prepare("generate:n=100,d=3", "real", DataOptions(), 0, comm))
    >>> [len(data.shard) for data in sets], sets[0].shard.features
    ([50, 50], 3)
    """
    source = open_source(path, options.format, options.features, comm)
    return prepare_source(path, source, target, options, seed, comm, losses)


def prepare_source(
    path: str,
    source: Source,
    target: str,
    options: DataOptions,
    seed: int,
    comm: Comm,
    losses: Mapping[str, str] = NO_LOSSES,
) -> Dataset:
    """Return this rank's shard of a source that is open; `path` names it in messages; see `prepare`."""
    began = time.perf_counter()
    partition = partition_rows(path, source, options.shards, options.holdout, seed, comm)
    layout = _layout(options, options.features, shuffled=options.shards != "shuffled")
    loaded, found = load(path, source, partition, layout, seed, comm)
    _check_content(path, source, found)
    preprocessing = _preprocessing(path, loaded, target, options, comm, losses)
    shards = [_shard(path, rows, preprocessing, options, found.weighted, comm) for rows in loaded]
    test = shards[1] if len(shards) > 1 else _load_test(options, loaded[0], preprocessing, seed, comm)
    nbytes = int(comm.sum(np.array([source.nbytes]))[0])
    return Dataset(
        shard=shards[0],
        classes=preprocessing.classes,
        mean=preprocessing.mean,
        scale=preprocessing.scale,
        names=source.names,
        target=preprocessing.target,
        checksum=f"{found.checksum:016x}",
        test=test,
        source=path,
        bytes_read=nbytes,
        seconds_load=time.perf_counter() - began,
    )


def stream(path: str, options: DataOptions, comm: Comm, nbytes: int = PIECE) -> Iterator[RawRows]:
    """Read this rank's rows of a file in pieces of about `nbytes`, with labels as in the file and nothing scaled.

    Opening is collective; the iterator is local and raises this rank's errors. `options.features` is the number of
    features of the model; a file with more is refused.
    """
    return check_pieces(path, open_source(path, options.format, options.features, comm).pieces(nbytes))


def _layout(
    options: DataOptions, features: int | None, dense: bool | None = None, shuffled: bool = False
) -> RowLayout:
    """Return the layout of the rows; those to be scaled arrive in float64 and are rounded afterwards."""
    dtype = np.float32 if options.float32 and options.scale == "none" else np.float64
    return RowLayout(options.intercept, dtype, features, dense, shuffled)


def _check_content(path: str, source: Source, found: FileStatistics) -> None:
    """Raise ValueError if there are no labels, or if the content does not match the checksum in the file."""
    if found.unlabelled:
        raise ValueError(f"{path}: has no labels to train on")
    checksum = f"{found.checksum:016x}"
    if source.checksum not in (None, checksum):
        raise ValueError(
            f"{path}: is damaged: its content has checksum {checksum}; the file states {source.checksum}"
        )


def _preprocessing(
    path: str,
    loaded: list[LoadedRows],
    target: str,
    options: DataOptions,
    comm: Comm,
    losses: Mapping[str, str],
) -> Preprocessing:
    """Find the classes in the labels of all rows, and the scaling of the columns of the training rows; collective."""
    every = np.concatenate([rows.label for rows in loaded])
    target, classes = labels.target_and_classes(path, every, target, losses, comm)
    main = loaded[0]
    mean, scale = scaling.statistics(options.scale, main.rows, main.features, main.total, comm)
    return Preprocessing(target, classes, mean, scale)


def _shard(
    path: str, loaded: LoadedRows, known: Preprocessing, options: DataOptions, weighted: bool, comm: Comm
) -> Shard:
    """Scale the rows in place, set the intercept's column, map the labels, make the mean weight 1; collective."""
    d = loaded.features
    scaling.apply(options.scale, loaded.rows, known.mean, known.scale)
    rows = set_intercept(loaded.rows, d) if options.intercept else loaded.rows
    rows = to_float32(rows) if options.float32 else rows
    label, weight = loaded.label, loaded.weight
    with comm.agree_on_errors():
        if known.classes is not None:
            label = labels.map_labels(path, label, known.classes, known.target)
    if weighted:
        whole = scaling.total_weight(weight, comm)
        if whole <= 0:
            raise ValueError(f"{path}: all weights are zero; at least one must be above")
        weight = weight * (loaded.total / whole)
    return Shard(rows, label, weight, loaded.order, loaded.start, loaded.total, d, options.intercept)


def _load_test(options: DataOptions, main: LoadedRows, known: Preprocessing, seed: int, comm: Comm) -> Shard | None:
    """Return this rank's shard of the test file, if there is one, prepared as the training rows were; collective."""
    path = options.test
    if not path:
        return None
    source = open_source(path, options.format, main.features, comm)
    partition = partition_rows(path, source, "contiguous", 0.0, seed, comm)
    layout = _layout(options, main.features, dense=isinstance(main.rows, DenseRows))
    (loaded,), found = load(path, source, partition, layout, seed, comm)
    if found.unlabelled:
        raise ValueError(f"{path}: has no labels to test on")
    return _shard(path, loaded, known, options, found.weighted, comm)
