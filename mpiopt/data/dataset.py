"""From a file to this rank's shard: open, partition, read and send, assemble, scale, centre, map the labels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import DataOptions
from mpiopt.core.files import refuse_special
from mpiopt.data import coordinates, labels, scaling
from mpiopt.data.coordinates import Coordinates
from mpiopt.data.formats.base import PIECE, RawRows, Source, open_source
from mpiopt.data.given_offsets import linked, refuse_changed_file
from mpiopt.data.loader import RowLayout, load
from mpiopt.data.matching import open_like
from mpiopt.data.offsets import beside
from mpiopt.data.redistribute import LoadedRows
from mpiopt.data.row_checks import FileStatistics, check_pieces, refuse_beyond_float32
from mpiopt.data.row_formats import set_intercept, to_float32
from mpiopt.data.row_order import partition_rows
from mpiopt.data.row_storage import RowStorage, memory_note, refuse_no_folder
from mpiopt.data.schema import Schema
from mpiopt.data.shard import DenseRows, Shard, Vector
from mpiopt.data.tables.files import find_table
from mpiopt.data.tables.source import class_names, open_table
from mpiopt.data.weightless import empty_offsets, empty_weightless

NO_LOSSES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set as one rank has it."""

    shard: Shard
    classes: Vector | None  # labels as in the file: [0] -> -1, [1] -> +1, or class numbers; None: real targets
    mean: Vector  # (d,) the column of the model and its penalty is (x - mean) / scale
    scale: Vector  # (d,)
    coordinates: Coordinates  # of that column, for the algorithms
    names: list[str] | None  # of the features
    target: str  # kind of the labels: "binary", "multiclass", "real" or "count"
    checksum: str  # of the training file's content, the same on any number of ranks and in any format
    test: Shard | None
    source: str
    bytes_read: int  # over all ranks
    seconds_load: float
    schema: Schema | None = None  # of the training file; None for a source that is no file
    notes: tuple[str, ...] = ()  # lines for the user: what the files have and is not used

    @property
    def class_labels(self) -> NDArray[np.generic] | None:
        """The classes as the file names them: words where the target of a table is of words."""
        words = class_names(self.schema)
        return self.classes if words is None else words


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """What the training rows determine for all rows: scaling and coordinates of columns, classes of labels."""

    target: str
    classes: Vector | None
    mean: Vector
    scale: Vector
    coordinates: Coordinates


def prepare(
    path: str,
    target: str,
    options: DataOptions,
    seed: int,
    comm: Comm,
    losses: Mapping[str, str] = NO_LOSSES,
    link: str = "",
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
    link : str
        How the loss takes the offset of a row: "log", "identity", "margin", or "" for not at all.

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
    with comm.agree_on_errors():
        refuse_special(options.test)
        if options.stream:
            refuse_no_folder(options.stream)
    source = open_rows(path, target, options, comm, link)
    words = class_names(source.schema)
    if words is not None and target == "auto":
        target = "binary" if len(words) == 2 else "multiclass"
    return prepare_source(source, target, options, seed, comm, losses)


def open_rows(path: str, target: str, options: DataOptions, comm: Comm, link: str) -> Source:
    """Open a table or another data file, whose offsets become what the loss makes of them; see `prepare`."""
    with comm.agree_on_errors():
        table = find_table(path, options.format, options.columns.names_any)
    if table is not None:
        return open_table(table, options, target, link, comm)
    source = open_source(path, options.format, options.features, comm)
    return linked(source, link)


def prepare_source(
    source: Source,
    target: str,
    options: DataOptions,
    seed: int,
    comm: Comm,
    losses: Mapping[str, str] = NO_LOSSES,
) -> Dataset:
    """Return this rank's shard of a source that is open; see `prepare`."""
    began = time.perf_counter()
    partition = partition_rows(source, options.shards, options.holdout, seed, comm)
    layout = _layout(options, options.features, shuffled=True)
    loaded, found = load(source, partition, layout, seed, comm)
    _refuse_unlabelled(source, found)
    refuse_changed_file(source, found, comm)
    preprocessing = _preprocessing(source.path, loaded, target, options, comm, losses, class_names(source.schema))
    shards = [_shard(source.path, rows, preprocessing, options, found.weighted, comm) for rows in loaded]
    schema = _schema(source, loaded[0].features, preprocessing.target, options)
    notes = source.notes + (memory_note(options.stream) if options.stream else ())
    test = shards[1] if len(shards) > 1 else None
    if options.test:
        opened = _open_test(options, loaded[0].features, schema, comm)
        test = _load_test(options, opened, loaded[0], preprocessing, seed, comm)
        notes += opened.notes
    nbytes = int(comm.sum(np.array([source.nbytes]))[0])
    return Dataset(
        shard=shards[0],
        classes=preprocessing.classes,
        mean=preprocessing.mean,
        scale=preprocessing.scale,
        coordinates=preprocessing.coordinates,
        names=source.names,
        target=preprocessing.target,
        checksum=f"{found.checksum:016x}",
        test=test,
        source=source.path,
        bytes_read=nbytes,
        seconds_load=time.perf_counter() - began,
        schema=schema,
        notes=notes,
    )


def _schema(source: Source, features: int, target: str, options: DataOptions) -> Schema | None:
    """Return the schema of a source with what its rows have decided."""
    if source.schema is None:
        return None
    names = None if source.names is None else tuple(source.names)
    kind = "float32" if options.float32 else "float64"
    return replace(source.schema, names=names, features=features, target=target, scale=options.scale, kind=kind)


def stream(path: str, options: DataOptions, comm: Comm, nbytes: int = PIECE) -> Iterator[RawRows]:
    """Read this rank's rows of a file in pieces of about `nbytes`, with labels as in the file and nothing scaled.

    Opening is collective; the iterator is local and raises this rank's errors. `options.features` is the number of
    features of the model; a file with more is refused.
    """
    return check_pieces(open_source(path, options.format, options.features, comm), nbytes)


def _layout(
    options: DataOptions, features: int | None, dense: bool | None = None, shuffled: bool = False
) -> RowLayout:
    """Return the layout of the rows; those to be scaled or centred arrive in float64 and are rounded afterwards."""
    as_in_file = options.scale == "none" and options.coordinates == "file"
    dtype = np.float32 if options.float32 and as_in_file else np.float64
    fits = np.float32 if options.float32 and options.scale == "none" else np.float64
    return RowLayout(options.intercept, dtype, features, dense, shuffled, fits, RowStorage(options.stream))


def _refuse_unlabelled(source: Source, found: FileStatistics) -> None:
    """Raise ValueError if there are no labels."""
    if found.unlabelled:
        unused = "".join(f"; {note.removeprefix(f'{source.path}: ')}" for note in source.notes[:1])
        raise ValueError(f"{source.path}: has no labels to train on{unused}")


def _preprocessing(
    path: str,
    loaded: list[LoadedRows],
    target: str,
    options: DataOptions,
    comm: Comm,
    losses: Mapping[str, str],
    names: NDArray[np.str_] | None,
) -> Preprocessing:
    """Find the classes in the labels of all rows, and scaling and coordinates of the training rows; collective.

    The rows are scaled in place.
    """
    every = np.concatenate([rows.label for rows in loaded])
    words = () if names is None else names.tolist()
    target, classes = labels.target_and_classes(path, every, target, losses, comm, words)
    main = loaded[0]
    mean, scale = scaling.statistics(options.scale, main.rows, main.features, main.total, comm)
    for rows in loaded:
        scaling.apply(options.scale, rows.rows, mean, scale)
    found = coordinates.as_given(main.features)
    if options.coordinates == "standardised":
        found = coordinates.standardised(main.rows, main.weight, main.features, options.intercept, comm)
    return Preprocessing(target, classes, mean, scale, found)


def _shard(
    path: str, loaded: LoadedRows, known: Preprocessing, options: DataOptions, weighted: bool, comm: Comm
) -> Shard:
    """Move scaled rows to the coordinates, set the intercept, map the labels, make the mean weight 1; collective."""
    d, moved, label, weight = loaded.features, options.coordinates != "file", loaded.label, loaded.weight
    with comm.agree_on_errors():
        try:
            if options.float32:
                refuse_beyond_float32(loaded.rows)
        except ValueError as fault:
            raise ValueError(f"{path}, {fault}") from None
        if known.classes is not None:
            label = labels.map_labels(loaded.label, known.classes, known.target)
            unknown = loaded.label[np.isnan(label)]
            if len(unknown):
                listed = ", ".join(f"{v:g}" for v in known.classes[:10])
                raise ValueError(f"{path}: label {unknown[0]:g} is not a class of the training data: {listed}")
    rows = known.coordinates.move(loaded.rows) if moved else loaded.rows
    label = beside(empty_weightless(rows, label, weight), empty_offsets(loaded.offset, weight))
    rows = set_intercept(rows, d) if options.intercept else rows
    rows = to_float32(rows) if options.float32 else rows
    factor = 1.0
    if weighted:
        try:
            factor = scaling.weight_factor(weight, loaded.total, comm)
        except ValueError as fault:
            raise ValueError(f"{path}: {fault}") from None
    scale = known.coordinates.scale if moved else None
    shard = Shard(rows, label, weight * factor, loaded.order, loaded.start, loaded.total, d, options.intercept, scale)
    far = known.coordinates.far if moved else None
    return replace(shard, weight_unit=1.0 / factor, far=far, parts=loaded.parts)


def _open_test(options: DataOptions, features: int, schema: Schema | None, comm: Comm) -> Source:
    """Open the test file as the training file was opened; collective."""
    if schema is None:
        return open_source(options.test, options.format, features, comm)
    return open_like(options.test, "auto" if options.format == "auto" else schema.format, schema, comm)


def _load_test(
    options: DataOptions, source: Source, main: LoadedRows, known: Preprocessing, seed: int, comm: Comm
) -> Shard:
    """Return this rank's shard of the test file, prepared as the training rows were; collective."""
    partition = partition_rows(source, "contiguous", 0.0, seed, comm)
    layout = _layout(options, main.features, dense=isinstance(main.rows, DenseRows))
    (loaded,), found = load(source, partition, layout, seed, comm)
    if found.unlabelled:
        raise ValueError(f"{source.path}: has no labels to test on")
    scaling.apply(options.scale, loaded.rows, known.mean, known.scale)
    return _shard(source.path, loaded, known, options, found.weighted, comm)
