"""Open a file for a model: read as its training file was, with the features in the model's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.registry import nearest
from mpiopt.core.files import refuse_unreadable
from mpiopt.data.formats.base import (
    PIECE,
    RawRows,
    Reader,
    Source,
    open_with,
    parse_options,
    recognising,
)
from mpiopt.data.given_offsets import linked_like
from mpiopt.data.row_checks import FileStatistics, refuse_changed
from mpiopt.data.schema import Schema
from mpiopt.data.shard import CsrRows
from mpiopt.data.tables.source import open_table_like

SHOWN = 5  # names in a message
HDF5 = b"\x89HDF"  # first bytes of a file


def open_like(path: str, form: str, schema: Schema, comm: Comm) -> Source:
    """Open a file to which a model is applied; its features are in the order of the model's; collective.

    Features are matched by title where both files have titles, else by position. Labels may be missing.

    Parameters
    ----------
    path : str
        The file.
    form : str
        `auto`, or a reader with the options that replace those of the training file: `name:option=value,…`.
    schema : Schema
        The schema of the training file.
    comm : Comm
        The ranks that share the rows.

    Raises
    ------
    ValueError
        On all ranks: the file cannot be read, or has not the features of the model.
    """
    with comm.agree_on_errors():
        is_table = bool(schema.table) and not is_hdf5(path)
        reader = None if is_table else reader_like(path, form, schema)
    if reader is None:
        return open_table_like(path, form, schema, comm)
    source = open_with(reader, path, None if schema.names else schema.features, comm)
    return linked_like(_matched(source, schema, comm), schema)


def _matched(source: Source, schema: Schema, comm: Comm) -> Source:
    """Return the source with the features of the model; collective."""
    if source.names and schema.names:
        return _by_title(source, schema, comm)
    if source.features is not None and not source.sparse and source.features < schema.features:
        raise ValueError(f"{source.path}: rows have {source.features} columns, the model has {schema.features}")
    if source.features is not None and source.features > schema.features:
        raise ValueError(f"{source.path}: has {source.features} features; the model has {schema.features}")
    return _Matched.of(source, None, schema.features)


def is_hdf5(path: str) -> bool:
    """Return whether a path is an HDF5 file, such as `convert` writes of a table."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(HDF5)) == HDF5


def reader_like(path: str, form: str, schema: Schema) -> Reader:
    """Return the reader of a file to which a model is applied, with the options of the training file; local."""
    if not path.startswith("generate:"):
        refuse_unreadable(path)
    name, _, text = form.partition(":")
    if form == "auto":
        found = recognising(path)
        name, text = found[0].name if len(found) == 1 else schema.format, ""
    given = parse_options(Reader, name, text)
    options = schema.options if name == schema.format else {}
    learned = parse_options(Reader, name, ",".join(f"{key}={value}" for key, value in options.items()))
    return Reader.make(name, learned | given).like(path, schema, given)


def _by_title(source: Source, schema: Schema, comm: Comm) -> Source:
    """Return the source with its features in the model's order; ValueError if one is missing."""
    path, there, wanted = source.path, list(source.names or ()), list(schema.names or ())
    if there == wanted:
        return _Matched.of(source, None, schema.features)
    refuse_missing(path, there, wanted)
    for names, whose in ((there, path), (wanted, f"{path}: the training file")):
        twice = [name for name in wanted if names.count(name) > 1]
        if twice:
            raise ValueError(f"{whose}: two columns are called {twice[0]!r}; the features cannot be matched by title")
    place = {name: i for i, name in enumerate(wanted)}
    places = np.array([place.get(name, -1) for name in there], np.int64)
    unused = [name for name in there if name not in place]
    if unused:
        count = "1 column is" if len(unused) == 1 else f"{len(unused)} columns are"
        source.notes = (*source.notes, f"{path}: {count} not used: {shown(unused)}")
    if source.checksum is not None:  # it is that of the columns in their own order, so it is checked here
        seen = FileStatistics()
        with comm.agree_on_errors():
            for piece in source.pieces():
                seen.add(piece)
        refuse_changed(path, source.checksum, seen.over_ranks(comm))
    return _Matched.of(source, places, schema.features)


def refuse_missing(path: str, there: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise ValueError if titles are missing; the nearest of those that are there and not wanted is suggested."""
    missing = [name for name in wanted if name not in {*there}]
    if missing:
        others = [name for name in there if name not in {*wanted}]
        named = ", ".join(repr(name) + nearest(name, others) for name in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        none, them = ("there is no column", "it") if len(missing) == 1 else ("there are no columns", "them")
        raise ValueError(f"{path}: {none} {named}{more}; the model needs {them}")


def shown(names: Sequence[str]) -> str:
    """Return the first names, for a message."""
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


@dataclass(eq=False)
class _Matched(Source):
    """A source whose features are those of a model."""

    source: Source
    places: NDArray[np.int64] | None  # of each column of the source in the model, -1 if it is not used

    @classmethod
    def of(cls, source: Source, places: NDArray[np.int64] | None, features: int) -> Source:
        return cls(
            source.path,
            source.total,
            features,
            source.sparse,
            source.names,
            source.nbytes,
            source,
            places,
            checksum=source.checksum if places is None else None,
            schema=source.schema,
            notes=source.notes,
        )

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        for piece in self.source.pieces(nbytes):
            yield replace(piece, rows=self._moved(piece.rows))

    def _moved(self, rows: NDArray[np.float64] | CsrRows) -> NDArray[np.float64] | CsrRows:
        features = self.features or 0
        if isinstance(rows, CsrRows) and rows.width > (features if self.places is None else len(self.places)):
            raise ValueError(f"{self.path}: has {rows.width} features; the model has {features}")
        if self.places is None:
            return rows
        if isinstance(rows, CsrRows):
            return moved_sparse(rows, self.places, features)
        return np.ascontiguousarray(rows[:, source_columns(self.places)])


def source_columns(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each place the column that goes there."""
    used = np.flatnonzero(places >= 0)
    return used[np.argsort(places[used])]


def moved_sparse(rows: CsrRows, places: NDArray[np.int64], features: int) -> CsrRows:
    """Return rows with each entry at its new place, ascending within a row; without those whose place is -1."""
    place = places[rows.indices]
    number = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    kept = np.flatnonzero(place >= 0)
    order = kept[np.lexsort((place[kept], number[kept]))]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(number[kept], minlength=len(rows)))]).astype(np.int64)
    return CsrRows(indptr, place[order].astype(np.int32), rows.values[order], features)
