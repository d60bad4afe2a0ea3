"""NumPy files: .npy with the label in a column, .npz with arrays X, y and, optionally, weight."""

from __future__ import annotations

import math
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any, ClassVar

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.registry import nearest
from mpiopt.core.partition import block
from mpiopt.core.seal import DamagedFile
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width, row_ranges, unused_note
from mpiopt.data.formats.columns import Columns, columns_like, find_columns
from mpiopt.data.schema import Place, Schema

ARCHIVE = b"PK"  # first bytes of an .npz
# numpy reads a header with ast.literal_eval, which threads must not call at once in CPython 3.11 (gh-106905).
_HEADER = threading.Lock()


@dataclass(frozen=True)
class Npy(Reader):
    """A .npy array of rows with the label in column `label` (last, first, none, a number), or an .npz archive.

    In an archive the options name arrays; without them these are `y` and, if it is there, `weight`.
    """

    name: ClassVar[str] = "npy"
    suffixes: ClassVar[tuple[str, ...]] = (".npy", ".npz")
    label: str = "last"
    weight: str = "none"

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the first bytes are those of .npy, or of a zip archive that is named .npz."""
        return head[:6] == b"\x93NUMPY" or (head[:2] == ARCHIVE and path.lower().endswith(".npz"))

    def like(self, path: str, schema: Schema, given: Collection[str]) -> Reader:
        """Return a reader with the columns, or the arrays, of label and weight where they are in `path`."""
        if not _is_archive(path):
            return replace(self, **columns_like(path, _open_table(path).shape[1], None, schema, given))
        with _opened(path) as archive:
            there = _members(archive)
        usual = {"label": "last", "weight": "none"}
        return replace(self, **{k: v for k, v in usual.items() if k not in given and self._arrays()[k] not in there})

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the headers, on each rank."""
        with comm.agree_on_errors():
            return self._open(path, comm, features)

    def _open(self, path: str, comm: Comm, features: int | None) -> Source:
        nbytes = os.path.getsize(path) // comm.size
        if _is_archive(path):
            return self._open_archive(path, comm, features, nbytes)
        table = _open_table(path)
        columns = find_columns(path, table.shape[1], None, self.label, self.weight)
        check_width(path, columns.features, features)
        schema = Schema(self.name, self.stated(), columns=table.shape[1]).at(**columns.places)
        return _Table(
            path, table.shape[0], columns.features, False, None, nbytes, table, columns, comm, schema=schema
        )

    def _open_archive(self, path: str, comm: Comm, features: int | None, nbytes: int) -> Source:
        wanted = self._arrays()
        named = [wanted[key] for key, usual in (("label", "last"), ("weight", "none")) if getattr(self, key) != usual]
        shapes = _archive(path, [name for name in wanted.values() if name], [name for name in named if name])
        n, d = shapes["X"]
        check_width(path, d, features)
        arrays = {key: name for key, name in wanted.items() if name in shapes}
        schema = Schema(self.name, self.stated()).at(**{key: Place(name) for key, name in arrays.items()})
        notes = _notes(path, n, arrays)
        return _Archive(path, n, d, False, None, nbytes, arrays, comm, schema=schema, notes=notes)

    def _arrays(self) -> dict[str, str]:
        """Return the arrays of an archive that the options name, or that are usual; "" for none."""
        label, weight = {"last": "y", "none": ""}, {"none": "weight"}
        return {"label": label.get(self.label, self.label), "weight": weight.get(self.weight, self.weight)}


def _is_archive(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == ARCHIVE


@contextmanager
def _opened(path: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; wherever it turns out to be damaged in the block, ValueError with its name."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, zlib.error, struct.error) as error:
        raise DamagedFile(f"{path}: is damaged or cut off: {str(error).lower()}") from None


def _open_table(path: str) -> np.memmap[Any, Any]:
    try:
        with _HEADER:
            table: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: is not a whole .npy file of numbers: {error}") from None
    _check(path, "the array", table.shape, table.dtype, 2)
    _check_length(path, "the array", table.shape, table.nbytes, os.path.getsize(path) - table.offset)
    return table


def _check_length(path: str, what: str, shape: tuple[int, ...], stated: int, found: int) -> None:
    if found != stated:
        raise ValueError(f"{path}: the header of {what} states the shape {shape}, {stated} bytes; it has {found}")


def _check(path: str, what: str, shape: tuple[int, ...], dtype: np.dtype[Any], axes: int) -> None:
    if len(shape) != axes or dtype.kind not in "biuf":
        wanted = "rows of real numbers (2 axes)" if axes == 2 else "one real number a row (1 axis)"
        raise ValueError(f"{path}: {what} has shape {shape} and type {dtype}; needed: {wanted}")


@dataclass(eq=False)
class _Table(Source):
    table: NDArray[Any]
    columns: Columns
    comm: Comm

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        for start, stop in row_ranges(self.total, self.comm, 8 * self.table.shape[1], nbytes):
            yield self.columns.split(np.array(self.table[start:stop], np.float64, order="C"), start)


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist()]


def _archive(path: str, wanted: list[str], named: list[str]) -> dict[str, tuple[int, ...]]:
    """Check the arrays of an .npz that are used, of which X and the `named` must be there; return their shapes."""
    with _opened(path) as archive:
        members = _members(archive)
        for name in ("X", *named):
            if name not in members:
                listed = ", ".join(members) or "nothing"
                raise ValueError(f"{path}: has no array {name}{nearest(name, members)}; it has: {listed}")
        shapes = {}
        for name, axes in (("X", 2), *((name, 1) for name in wanted)):
            if name in members:
                with archive.open(name + ".npy") as stream:
                    shapes[name], _, dtype = _header(path, stream)
                    found = archive.getinfo(name + ".npy").file_size - stream.tell()
                _check(path, name, shapes[name], dtype, axes)
                _check_length(path, name, shapes[name], math.prod(shapes[name]) * dtype.itemsize, found)
                if shapes[name][0] != shapes["X"][0]:
                    raise ValueError(f"{path}: {name} has {shapes[name][0]} entries; X has {shapes['X'][0]} rows")
    return shapes


def _notes(path: str, rows: int, used: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line for each array that is not used."""
    lines = []
    with _opened(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in ("X", *used.values()):
                continue
            fits = False
            if info.filename.endswith(".npy"):
                with archive.open(info) as stream:
                    shape, _, dtype = _header(path, stream)
                fits = shape == (rows,) and dtype.kind in "biuf"
            lines.append(unused_note(path, f"array {name}", f"npy:{{}}={name}" if fits else "", used))
    return tuple(lines)


def _header(path: str, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy_format.read_magic(stream)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        with _HEADER:
            return read(stream)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: is damaged: {error}") from None


@dataclass(eq=False)
class _Archive(Source):
    arrays: Mapping[str, str]
    comm: Comm

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        """Read each member from its start: compressed data cannot be entered in the middle."""
        start, stop = block(self.total, self.comm.size, self.comm.rank)
        with _opened(self.path) as archive:
            names = [self.arrays.get(key, "") for key in ("label", "weight")]
            label, weight = (_vector(self.path, archive, name, start, stop) for name in names)
            for first, rows in _rows(self.path, archive, start, stop, nbytes):
                here = slice(first - start, first - start + len(rows))
                found = np.full(len(rows), np.nan) if label is None else label[here]
                yield RawRows(rows, found, None if weight is None else weight[here], first)


def _vector(path: str, archive: zipfile.ZipFile, name: str, start: int, stop: int) -> NDArray[np.float64] | None:
    if not name:
        return None
    with archive.open(name + ".npy") as stream:
        _, _, dtype = _header(path, stream)
        return _numbers(path, stream, dtype, start, stop - start)


def _rows(
    path: str, archive: zipfile.ZipFile, start: int, stop: int, nbytes: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    with archive.open("X.npy") as stream:
        (total, d), by_columns, dtype = _header(path, stream)
        if by_columns:
            skips = [start] + [total - (stop - start)] * (d - 1)
            yield start, np.stack([_numbers(path, stream, dtype, s, stop - start) for s in skips], axis=1)
            return
        step, skip = max(1, nbytes // max(8 * d, 1)), start * d
        for first in range(start, stop, step):
            n = min(step, stop - first)
            yield first, _numbers(path, stream, dtype, skip, n * d).reshape(n, d)
            skip = 0


def _numbers(path: str, stream: IO[bytes], dtype: np.dtype[Any], skip: int, count: int) -> NDArray[np.float64]:
    """Skip entries of a stream and read the next `count`."""
    left = skip * dtype.itemsize
    while left > 0:
        left -= len(stream.read(min(left, PIECE)) or b"") or left
    raw = stream.read(count * dtype.itemsize)
    if len(raw) < count * dtype.itemsize:
        raise ValueError(f"{path}: is cut off")
    return np.frombuffer(raw, dtype).astype(np.float64)
