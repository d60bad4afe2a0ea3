"""NumPy files: .npy with the label in a column, .npz with arrays X, y and, optionally, weight."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, ClassVar

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width, row_ranges
from mpiopt.data.formats.columns import Columns, find_columns

# numpy reads a header with ast.literal_eval, which threads must not call at once in CPython 3.11 (gh-106905).
_HEADER = threading.Lock()


@dataclass(frozen=True)
class Npy(Reader):
    """A .npy array of rows with the label in column `label` (last, first, none, a number), or an .npz archive."""

    name: ClassVar[str] = "npy"
    suffixes: ClassVar[tuple[str, ...]] = (".npy", ".npz")
    label: str = "last"
    weight: str = "none"

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the first bytes are those of .npy, or of a zip archive that is named .npz."""
        return head[:6] == b"\x93NUMPY" or (head[:2] == b"PK" and path.lower().endswith(".npz"))

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the headers, on each rank."""
        with comm.agree_on_errors():
            return self._open(path, comm, features)

    def _open(self, path: str, comm: Comm, features: int | None) -> Source:
        nbytes = os.path.getsize(path) // comm.size
        if zipfile.is_zipfile(path):
            shape = _archive(path)
            check_width(path, shape[1], features)
            return _Archive(shape[0], shape[1], False, None, nbytes, path, comm)
        try:
            with _HEADER:
                table = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: is not a whole .npy file of numbers: {error}") from None
        _check(path, "the array", table.shape, table.dtype, 2)
        columns = find_columns(path, table.shape[1], None, self.label, self.weight)
        check_width(path, columns.features, features)
        return _Table(table.shape[0], columns.features, False, None, nbytes, table, columns, comm)


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


def _archive(path: str) -> tuple[int, ...]:
    """Check the arrays of an .npz and return the shape of X."""
    with zipfile.ZipFile(path) as archive:
        members = [n.removesuffix(".npy") for n in archive.namelist()]
        if "X" not in members:
            raise ValueError(f"{path}: has no array X; it has: {', '.join(members) or 'nothing'}")
        shapes = {}
        for name, axes in (("X", 2), ("y", 1), ("weight", 1)):
            if name in members:
                with archive.open(name + ".npy") as stream:
                    shapes[name], _, dtype = _header(path, stream)
                _check(path, name, shapes[name], dtype, axes)
                if shapes[name][0] != shapes["X"][0]:
                    raise ValueError(f"{path}: {name} has {shapes[name][0]} entries; X has {shapes['X'][0]} rows")
    return shapes["X"]


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
    path: str
    comm: Comm

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        """Read each member from its start: compressed data cannot be entered in the middle."""
        start, stop = block(self.total, self.comm.size, self.comm.rank)
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = archive.namelist()
                label, weight = (_vector(self.path, archive, n, names, start, stop) for n in ("y.npy", "weight.npy"))
                for first, rows in _rows(self.path, archive, start, stop, nbytes):
                    here = slice(first - start, first - start + len(rows))
                    found = np.full(len(rows), np.nan) if label is None else label[here]
                    yield RawRows(rows, found, None if weight is None else weight[here], first)
        except (zipfile.BadZipFile, EOFError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
            raise ValueError(f"{self.path}: is damaged: {error}") from None


def _vector(
    path: str, archive: zipfile.ZipFile, name: str, names: list[str], start: int, stop: int
) -> NDArray[np.float64] | None:
    if name not in names:
        return None
    with archive.open(name) as stream:
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
