"""HDF5 files with the rows in CSR form: `/indptr` (n + 1), `/indices`, `/data`, `/y` (n,), maybe `/weight` (n,).

The first three may be in a group, such as `/X` of AnnData or `/matrix` of 10x Genomics.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width
from mpiopt.data.schema import Schema
from mpiopt.data.shard import CsrRows, Indices, Vector

if TYPE_CHECKING:
    import h5py

ENTRY_BYTES, ROW_BYTES = 12, 16  # of an index and a value; of a row's pointer and label
BY_COLUMNS = ("format", "encoding-type", "h5sparse_format", "MATLAB_sparse")  # attributes that may say "csc"
MAX_COLUMNS = (1 << 31) - 1  # indices are int32


@dataclass(frozen=True)
class Hdf5Csr(Reader):
    """HDF5 with sparse rows; indices from 0, ascending within a row; auto: `/y` and `/weight`, if they are there."""

    name: ClassVar[str] = "hdf5-csr"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".he5")
    y: str = "auto"
    weight: str = "auto"
    group: str = "auto"  # of the rows; auto: the file itself, /X or /matrix
    linked: str = "refuse"  # rows in other files, by links, virtual datasets or external storage: refuse | allow

    def __post_init__(self) -> None:
        if self.linked not in ("refuse", "allow"):
            raise ValueError(f"{self.name}: linked must be refuse or allow, not {self.linked!r}")

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the first bytes are HDF5's and the rows are in CSR form."""
        from mpiopt.data.formats.hdf5 import SIGNATURE
        from mpiopt.data.formats.hdf5_groups import is_csr

        return head.startswith(SIGNATURE) and is_csr(path)

    def like(self, path: str, schema: Schema, given: Collection[str]) -> Reader:
        """Return a reader that takes the usual datasets where those of the training file are missing."""
        from mpiopt.data.formats import hdf5

        return replace(self, **hdf5.options_like(path, {"y": self.y, "weight": self.weight}, given))

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the shapes, on each rank."""
        from mpiopt.data.formats import hdf5, hdf5_groups

        with comm.agree_on_errors(), hdf5.open_data(path) as file:
            group = hdf5_groups.find_group(path, file, self.group)
            rows = indptr, indices, data = _parts(group)
            n = len(hdf5.dataset(path, file, indptr, 1, None, True, self.linked)) - 1
            stored = len(hdf5.dataset(path, file, data, 1, None, linked=self.linked))
            hdf5.dataset(path, file, indices, 1, stored, True, self.linked)
            _refuse_columns(path, file[group or "/"], n)
            _check_ends(path, file[indptr], n, stored)
            stated = hdf5.stated(path, file, comm.size, n, None, self.linked)
            if group:
                facts = hdf5_groups.group_facts(path, file, group, n, self.linked)
                stated = stated._replace(features=facts.features, names=facts.names or stated.names)
            found = hdf5.find_vectors(path, file, {"y": self.y, "weight": self.weight}, rows, n, self.linked)
            d = stated.features
            check_width(path, d or 0, features)
            limit = d if d is not None else features
            nbytes, checksum = stated.nbytes, stated.checksum
            return _Source(
                path,
                n,
                d,
                True,
                stated.names,
                nbytes,
                found.names,
                comm,
                stored,
                limit,
                group,
                checksum=checksum,
                schema=Schema(self.name, self.stated(), table=stated.table).at(**found.places),
                notes=found.notes,
            )


def _parts(group: str) -> tuple[str, str, str]:
    """Return the names of the datasets of the rows."""
    before = f"{group}/" if group else ""
    return f"{before}indptr", f"{before}indices", f"{before}data"


def _refuse_columns(path: str, file: h5py.Group, n: int) -> None:
    """Raise ValueError if a file says, in an attribute or by its shape, that it holds a matrix by columns."""
    from mpiopt.data.formats import hdf5

    words = [value for name in BY_COLUMNS for value in hdf5.texts(file.attrs.get(name))]
    shape = hdf5.shape_of(path, file)
    turned = shape is not None and shape[0] != n and shape[1] == n
    if turned or any("csc" in word.lower() for word in words):
        raise ValueError(
            f"{path}: holds a sparse matrix by columns (CSC); rows are needed (CSR): use tocsr() of scipy"
        )


def _check_ends(path: str, indptr: h5py.Dataset, n: int, stored: int) -> None:
    """Raise ValueError unless the pointer begins with 0 and ends with the number of stored values."""
    if n < 0:
        raise ValueError(f"{path}: indptr is empty; it must have one entry more than there are rows")
    first, last = (int(indptr[i]) for i in (0, n))
    if (first, last) != (0, stored):
        allowed = f"indptr must ascend from 0 to {stored}, the number of stored values"
        raise ValueError(f"{path}: {allowed}; it goes from {first} to {last}")


@dataclass(eq=False)
class _Source(Source):
    vectors: dict[str, str]
    comm: Comm
    stored: int
    limit: int | None
    group: str

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        from mpiopt.data.formats import hdf5

        start, stop = block(self.total, self.comm.size, self.comm.rank)
        path, names, (pointer, places, data) = self.path, self.vectors, _parts(self.group)
        with hdf5.open_data(path) as file:
            indptr = hdf5.read_slice(path, file, pointer, start, stop + 1, np.int64)
            if (np.diff(indptr) < 0).any() or indptr.min() < 0 or indptr.max() > self.stored:
                raise ValueError(f"{path}: indptr must ascend from 0 to {self.stored}, the number of stored values")
            a = start
            while a < stop:
                full = (
                    int(np.searchsorted(indptr, indptr[a - start] + nbytes // ENTRY_BYTES, side="right")) - 1 + start
                )
                b = min(max(a + 1, full), a + max(1, nbytes // ROW_BYTES), stop)
                ends = indptr[a - start : b - start + 1]
                indices = hdf5.read_slice(path, file, places, ends[0], ends[-1], np.int64)
                values = hdf5.read_slice(path, file, data, ends[0], ends[-1], np.float64)
                if self.group:  # other programs do not always sort them
                    indices, values = _sorted(ends - ends[0], indices, values)
                rows = _rows(path, a, ends - ends[0], indices, values, self.limit)
                yield hdf5.with_vectors(path, file, names, rows, a, b)
                a = b


def _sorted(indptr: Indices, indices: Indices, values: Vector) -> tuple[Indices, Vector]:
    """Return entries with ascending indices in each row."""
    order = np.lexsort((indices, np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))))
    return indices[order], values[order]


def _rows(path: str, start: int, indptr: Indices, indices: Indices, values: Vector, limit: int | None) -> CsrRows:
    """Return CSR rows, of which row `start` is the first; raise ValueError at indices that are not allowed."""
    top = limit if limit is not None else MAX_COLUMNS
    wrong = (indices < 0) | (indices >= top)
    falling = np.zeros(len(indices), np.bool_)
    falling[1:] = np.diff(indices) <= 0
    begins = indptr[:-1][np.diff(indptr) > 0]
    falling[begins] = False
    if wrong.any() or falling.any():
        q = int(np.argmax(wrong | falling))
        row = start + int(np.searchsorted(indptr, q, side="right"))
        allowed = f"indices from 0 to {top - 1}, ascending within a row, are allowed"
        raise ValueError(f"{path}, row {row}: found index {indices[q]}; {allowed}")
    width = int(indices.max()) + 1 if len(indices) else 0
    return CsrRows(indptr, indices.astype(np.int32), values, width)
