"""The first pass of a conversion: sizes, checksum, labels, and where the nonzeros of each piece will lie.

From any source to the HDF5 form, in two passes and bounded memory: count, then write.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.comm.base import Array, Comm
from mpiopt.core.config.registry import nearest
from mpiopt.core.files import refuse_onto
from mpiopt.data import labels
from mpiopt.data.formats.base import PIECE, RawRows, Source, find
from mpiopt.data.loader import DENSE, PassStatistics, checked, note, of_all
from mpiopt.data.row_formats import Numbers, compressed, spread, without_zeros
from mpiopt.data.shard import CsrRows, Vector


@dataclass(frozen=True, eq=False)
class Survey:
    """What must be known of a whole source before it is written."""

    seen: PassStatistics
    starts: Numbers  # of all pieces, ascending
    before: Numbers  # nonzeros before each of them
    labels: Vector  # distinct, ascending


def survey(path: str, source: Source, comm: Comm) -> Survey:
    """Read everything once: sizes, checksum, labels, and where the nonzeros of each piece will lie."""
    with comm.agree_on_errors():
        seen, counts, values = _count(path, source, comm)
    table = np.concatenate(comm.allgather(counts))
    table = table[np.argsort(table[:, 0], kind="stable")]
    distinct = labels.distinct(values, comm)
    return Survey(of_all(seen, comm), table[:, 0], np.cumsum(table[:, 1]) - table[:, 1], distinct)


def _count(path: str, source: Source, comm: Comm) -> tuple[PassStatistics, Numbers, Vector]:
    seen = PassStatistics(features=source.features or 0)
    counts: list[tuple[int, int]] = []
    values = np.empty(0)
    for piece in checked(path, source.pieces(piece_of(comm))):
        before = seen.nonzeros
        note(piece, seen)
        counts.append((piece.start, seen.nonzeros - before))
        values = np.unique(np.concatenate([values, piece.label]))[: labels.MOST_CLASSES + 1]
    return seen, np.array(counts, np.int64).reshape(-1, 2), values


def piece_of(comm: Comm) -> int:
    """Give the size of a piece: those of all ranks may meet on rank 0."""
    return max(PIECE // comm.size, 1 << 16)


FORMS = ("auto", "dense", "csr")


@dataclass(frozen=True)
class ConvertOptions:
    """How a file is read and what is written."""

    format: str = "auto"  # as in DataOptions
    features: int | None = None
    form: str = "auto"  # auto (dense if a quarter of the entries are nonzero) | dense | csr
    float32: bool = False

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


def convert(source: str, out: str, comm: Comm, options: ConvertOptions | None = None) -> Converted:
    """Write a data set in the HDF5 form, whole or not at all; collective.

    Raises
    ------
    ValueError
        If the source is not well formed, or `out` is the source; OSError if `out` cannot be written.
    """
    options = options or ConvertOptions()
    with comm.agree_on_errors():
        refuse_onto(out, source)
        reader = find(source, options.format)
    opened = reader.open(source, comm, options.features)
    if opened.total == 0:
        raise ValueError(f"{source}: has no rows")
    found = survey(source, opened, comm)
    d = options.features or opened.features or found.seen.features
    if d == 0:
        raise ValueError(f"{source}: no row has a feature")
    dense = found.seen.nonzeros >= DENSE * d * opened.total if options.form == "auto" else options.form == "dense"
    result = Converted(
        opened.total, d, found.seen.nonzeros, "dense" if dense else "csr", f"{found.seen.checksum:016x}"
    )
    _write(source, opened, out, found, result, np.float32 if options.float32 else np.float64, comm)
    return result


def generate(recipe: str, out: str, comm: Comm, options: ConvertOptions | None = None) -> Converted:
    """Write made-up data, `recipe` as in `datasets.generated` (n=…,d=…,…); each rank makes its own rows."""
    return convert(f"generate:{recipe.removeprefix('generate:')}", out, comm, options)


def _write(
    path: str, source: Source, out: str, known: Survey, result: Converted, dtype: type[Any], comm: Comm
) -> None:
    from mpiopt.data.formats import hdf5

    partial = out + ".partial"
    with comm.agree_on_errors():
        _writable(out, partial, comm.rank)
    pieces = _parts(path, source, known, result, dtype, comm)

    def next_slabs() -> Sequence[tuple[str, int, Array]] | None:
        with comm.agree_on_errors():
            return next(pieces, None)

    try:
        hdf5.write(partial, _plan(source, known, result, dtype), next_slabs, comm)
    except OSError as error:
        _remove(partial, comm.rank)
        raise OSError(f"{out}: writing failed: {error}") from None
    except BaseException:
        _remove(partial, comm.rank)
        raise
    with comm.agree_on_errors():
        _rename(partial, out, comm.rank)


def _plan(source: Source, known: Survey, result: Converted, dtype: type[Any]) -> Any:
    from mpiopt.data.formats import hdf5

    n, d = result.rows, result.features
    if result.form == "dense":
        datasets: dict[str, tuple[tuple[int, ...], Any]] = {"X": ((n, d), dtype)}
    else:
        stored = (result.nonzeros,)
        datasets = {"indptr": ((n + 1,), np.int64), "indices": (stored, np.int32), "data": (stored, dtype)}
    if not known.seen.unlabelled:
        datasets["y"] = ((n,), np.float64)
    if known.seen.weighted:
        datasets["weight"] = ((n,), np.float64)
    whole = len(known.labels) <= labels.MOST_CLASSES and bool((known.labels == np.floor(known.labels)).all())
    attributes: dict[str, Any] = {"shape": np.array([n, d], np.int64)}
    if dtype == np.float64:
        attributes["checksum"] = np.bytes_(result.checksum)
    return hdf5.WritePlan(datasets, attributes, source.names, known.labels if whole else None)


def _parts(
    path: str, source: Source, known: Survey, result: Converted, dtype: type[Any], comm: Comm
) -> Iterator[Sequence[tuple[str, int, Array]]]:
    """Give for each piece of this rank the slabs that it fills."""
    if result.form == "csr" and comm.rank == 0:
        yield [("indptr", 0, np.zeros(1, np.int64))]
    for piece in checked(path, source.pieces(piece_of(comm))):
        slabs: list[tuple[str, int, Array]] = []
        if result.form == "dense":
            rows = spread(piece.rows, result.features).values if isinstance(piece.rows, CsrRows) else piece.rows
            missing = result.features - rows.shape[1]
            slabs.append(("X", piece.start, np.pad(rows, ((0, 0), (0, missing))).astype(dtype)))
        else:
            slabs += _sparse_slabs(piece, known, dtype)
        if not known.seen.unlabelled:
            slabs.append(("y", piece.start, piece.label))
        if known.seen.weighted:
            slabs.append(("weight", piece.start, np.ones(len(piece)) if piece.weight is None else piece.weight))
        yield slabs


def _sparse_slabs(piece: RawRows, known: Survey, dtype: type[Any]) -> list[tuple[str, int, Array]]:
    rows = piece.rows if isinstance(piece.rows, CsrRows) else compressed(piece.rows, 0)
    rows = without_zeros(rows)
    first = int(known.before[np.searchsorted(known.starts, piece.start)])
    return [
        ("indptr", piece.start + 1, rows.indptr[1:] + first),
        ("indices", first, rows.indices),
        ("data", first, rows.values.astype(dtype)),
    ]


def _writable(out: str, partial: str, rank: int) -> None:
    if rank != 0:
        return
    try:
        with open(partial, "wb"):
            pass
        os.remove(partial)
        if Path(out).is_dir():
            raise IsADirectoryError(0, "is a folder")
    except OSError as error:
        raise OSError(f"{out}: cannot be written: {error.strerror}") from None


def _remove(partial: str, rank: int) -> None:
    if rank == 0:
        with contextlib.suppress(OSError):
            os.remove(partial)


def _rename(partial: str, out: str, rank: int) -> None:
    if rank != 0:
        return
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, out)
