"""Convert a data file to HDF5 in two passes and bounded memory: survey, then write."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.core.config.job import DataOptions
from mpiopt.core.config.registry import nearest
from mpiopt.core.files import PlainFile, refuse_existing, refuse_onto, rename_into_place
from mpiopt.data import labels
from mpiopt.data.formats.base import PIECE, RawRows, Source, open_source
from mpiopt.data.given_offsets import roles_given
from mpiopt.data.offsets import GIVEN
from mpiopt.data.row_checks import DENSE, FileStatistics, check_pieces, refuse_changed, rounded
from mpiopt.data.row_formats import to_csr, to_dense, without_zeros
from mpiopt.data.shard import CsrRows, Indices, Vector
from mpiopt.data.tables.column import EXPOSURE, OFFSET
from mpiopt.data.tables.files import TableFiles, find_table
from mpiopt.data.tables.source import open_table

if TYPE_CHECKING:
    from mpiopt.data.formats.hdf5_writer import RowSlab, WritePlan

FORMS = ("auto", "dense", "csr")
SMALLEST_PIECE = 1 << 16  # bytes


@dataclass(frozen=True)
class ConvertOptions:
    """How a file is read and what is written."""

    format: str = "auto"  # as in DataOptions
    features: int | None = None
    form: str = "auto"  # auto (dense if a quarter of the entries are nonzero) | dense | csr
    float32: bool = False
    overwrite: bool = False  # an existing file
    columns: ColumnOptions = field(default_factory=ColumnOptions)  # of a table

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            hint = nearest(self.form, FORMS)
            raise ValueError(f"form must be one of {', '.join(FORMS)}; not {self.form!r}{hint}")


@dataclass(frozen=True)
class Converted:
    """What was written."""

    rows: int
    features: int
    nonzeros: int
    form: str  # dense | csr
    checksum: str
    notes: tuple[str, ...] = ()  # lines for the user: what the source has and is not used


@dataclass(frozen=True, eq=False)
class Survey:
    """What must be known of all rows before they are written."""

    statistics: FileStatistics
    starts: Indices  # of all pieces, ascending
    nonzeros_before: Indices  # each of them
    labels: Vector  # distinct, ascending


def convert(source: str, out: str, comm: Comm, options: ConvertOptions | None = None) -> Converted:
    """Write a data set as HDF5, whole or not at all; collective.

    Raises
    ------
    ValueError
        If the source is not well formed, or `out` is the source.
    OSError
        If `out` cannot be written.
    """
    options = options or ConvertOptions()
    with comm.agree_on_errors():
        refuse_onto(out, source)
        refuse_existing(out, options.overwrite)
        table = find_table(source, options.format, options.columns.names_any)
    if table is None:
        opened = open_source(source, options.format, options.features, comm)
    else:
        opened = _open_table(table, options, comm)
    dtype = np.float32 if options.float32 else np.float64
    known = survey(opened, comm, dtype)
    found = known.statistics
    d = options.features or opened.features or found.features
    if d == 0:
        raise ValueError(f"{source}: no row has a feature")
    dense = found.nonzeros >= DENSE * d * opened.total if options.form == "auto" else options.form == "dense"
    result = Converted(
        opened.total, d, found.nonzeros, "dense" if dense else "csr", f"{found.checksum:016x}", opened.notes
    )
    _write(opened, out, known, result, dtype, comm)
    return result


def _open_table(files: TableFiles, options: ConvertOptions, comm: Comm) -> Source:
    """Open a table whose features are written; offset and exposure stay as they are, for the loss that comes."""
    chosen = DataOptions(format=options.format, features=options.features, columns=options.columns)
    return open_table(
        files, chosen, "auto", GIVEN if options.columns.offset or options.columns.exposure else "", comm
    )


def generate(recipe: str, out: str, comm: Comm, options: ConvertOptions | None = None) -> Converted:
    """Write synthetic data as HDF5; `recipe` is `n=…,d=…,…`; each rank makes its own rows; collective."""
    return convert(f"generate:{recipe.removeprefix('generate:')}", out, comm, options)


def survey(source: Source, comm: Comm, dtype: type[np.floating] = np.float64) -> Survey:
    """Read all rows once: statistics, labels, and where the nonzeros of each piece will lie; collective."""
    found = FileStatistics(features=source.features or 0)
    counts: list[tuple[int, int]] = []
    values = np.empty(0)
    with comm.agree_on_errors():
        for piece in rounded(check_pieces(source, _piece_bytes(comm), dtype), dtype):
            before = found.nonzeros
            found.add(piece)
            counts.append((piece.start, found.nonzeros - before))
            values = np.unique(np.concatenate([values, piece.label]))[: labels.MAX_CLASSES + 1]
    table = np.concatenate(comm.allgather(np.array(counts, np.int64).reshape(-1, 2)))
    table = table[np.argsort(table[:, 0], kind="stable")]
    distinct = labels.distinct(values, comm)
    every = found.over_ranks(comm)
    if dtype == np.float64:
        refuse_changed(source.path, source.checksum, every)
    return Survey(every, table[:, 0], np.cumsum(table[:, 1]) - table[:, 1], distinct)


def _piece_bytes(comm: Comm) -> int:
    """Return the size of a piece: rank 0 may receive those of all ranks at once."""
    return max(PIECE // comm.size, SMALLEST_PIECE)


def _write(source: Source, out: str, known: Survey, result: Converted, dtype: type[Any], comm: Comm) -> None:
    from mpiopt.data.formats import hdf5_writer

    partial = out + ".partial"
    with comm.agree_on_errors():
        if comm.rank == 0:
            _check_writable(out, partial)
    slabs = _slabs(source, known, result, dtype, comm)

    def next_slabs() -> Sequence[RowSlab] | None:
        with comm.agree_on_errors():
            return next(slabs, None)

    try:
        hdf5_writer.write(partial, _plan(source, known, result, dtype), next_slabs, comm)
    except BaseException as error:
        if comm.rank == 0:
            with contextlib.suppress(OSError):
                os.remove(partial)
        if isinstance(error, OSError):
            raise OSError(f"{out}: writing failed: {error}") from None
        raise
    with comm.agree_on_errors():
        if comm.rank == 0:
            rename_into_place(Path(partial), Path(out))


def _plan(source: Source, known: Survey, result: Converted, dtype: type[Any]) -> WritePlan:
    from mpiopt.data.formats.hdf5_writer import WritePlan

    n, d = result.rows, result.features
    if result.form == "dense":
        datasets: dict[str, tuple[tuple[int, ...], Any]] = {"X": ((n, d), dtype)}
    else:
        stored = (result.nonzeros,)
        datasets = {"indptr": ((n + 1,), np.int64), "indices": (stored, np.int32), "data": (stored, dtype)}
    if not known.statistics.unlabelled:
        datasets["y"] = ((n,), np.float64)
    if known.statistics.weighted:
        datasets["weight"] = ((n,), np.float64)
    datasets |= {name: ((n,), np.float64) for name in roles_given(source.schema)}
    attributes: dict[str, Any] = {"shape": np.array([n, d], np.int64), "checksum": np.bytes_(result.checksum)}
    table = source.schema.table if source.schema is not None else {}
    return WritePlan(
        datasets,
        attributes,
        source.names,
        known.labels if labels.are_classes(known.labels) else None,
        json.dumps(table).encode() if table else b"",
    )


def _slabs(
    source: Source, known: Survey, result: Converted, dtype: type[Any], comm: Comm
) -> Iterator[Sequence[RowSlab]]:
    """Yield for each piece of this rank the rows of each dataset."""
    from mpiopt.data.formats.hdf5_writer import RowSlab

    if result.form == "csr" and comm.rank == 0:
        yield [RowSlab("indptr", 0, np.zeros(1, np.int64))]
    for piece in rounded(check_pieces(source, _piece_bytes(comm)), dtype):
        if result.form == "dense":
            rows = to_dense(piece.rows, result.features).values if isinstance(piece.rows, CsrRows) else piece.rows
            missing = result.features - rows.shape[1]
            slabs = [RowSlab("X", piece.start, np.pad(rows, ((0, 0), (0, missing))).astype(dtype))]
        else:
            slabs = _csr_slabs(piece, known, dtype)
        if not known.statistics.unlabelled:
            slabs.append(RowSlab("y", piece.start, piece.label))
        if known.statistics.weighted:
            slabs.append(
                RowSlab("weight", piece.start, np.ones(len(piece)) if piece.weight is None else piece.weight)
            )
        for name, numbers in ((OFFSET, piece.offset), (EXPOSURE, piece.exposure)):
            if numbers is not None:
                slabs.append(RowSlab(name, piece.start, numbers))
        yield slabs


def _csr_slabs(piece: RawRows, known: Survey, dtype: type[Any]) -> list[RowSlab]:
    from mpiopt.data.formats.hdf5_writer import RowSlab

    rows = without_zeros(piece.rows if isinstance(piece.rows, CsrRows) else to_csr(piece.rows, 0))
    first = int(known.nonzeros_before[np.searchsorted(known.starts, piece.start)])
    return [
        RowSlab("indptr", piece.start + 1, rows.indptr[1:] + first),
        RowSlab("indices", first, rows.indices),
        RowSlab("data", first, rows.values.astype(dtype)),
    ]


def _check_writable(out: str, partial: str) -> None:
    try:
        Path(partial).unlink(missing_ok=True)  # left by a run that was killed, or a link, which is not followed
        with PlainFile(Path(partial)):
            pass
        os.remove(partial)
        if Path(out).is_dir():
            raise IsADirectoryError(0, "is a folder")
    except OSError as error:
        raise OSError(f"{out}: cannot be written: {error.strerror}") from None
