"""HDF5 files with the rows in CSR form: `/indptr` (n + 1), `/indices`, `/data`, `/y` (n,), perhaps `/weight` (n,)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width
from mpiopt.data.shard import CsrRows


@dataclass(frozen=True)
class Hdf5Csr(Reader):
    """HDF5 with sparse rows; indices from 0, ascending within a row; `y` and `weight` may be missing."""

    name: ClassVar[str] = "hdf5-csr"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".he5")
    y: str = "y"
    weight: str = "weight"

    def recognises(self, path: str, head: bytes) -> bool:
        """Tell by the first bytes and the names of the datasets."""
        from mpiopt.data.formats.hdf5 import SIGNATURE, is_csr

        return head.startswith(SIGNATURE) and is_csr(path)

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Look at the shapes; each rank for itself."""
        with comm.agree_on_errors():
            return self._open(path, comm, features)

    def _open(self, path: str, comm: Comm, features: int | None) -> Source:
        from mpiopt.data.formats import hdf5

        with hdf5.opened(path) as file:
            n = len(hdf5.dataset(path, file, "indptr", 1, None)) - 1
            stored = len(hdf5.dataset(path, file, "data", 1, None))
            hdf5.dataset(path, file, "indices", 1, stored)
            for name in (self.y, self.weight):
                if name in file:
                    hdf5.dataset(path, file, name, 1, n)
            shape = hdf5.attribute(file, "shape")
            d = None if shape is None else int(shape[1])
            check_width(path, d or 0, features)
            nbytes = os.path.getsize(path) // comm.size
            stated = hdf5.stated_checksum(file)
            limit = d if d is not None else features
            return _Source(n, d, True, hdf5.names_of(file), nbytes, path, self, comm, stated, stored, limit)


@dataclass(eq=False)
class _Source(Source):
    path: str
    reader: Hdf5Csr
    comm: Comm
    stated: str | None
    stored: int
    limit: int | None

    @property
    def checksum(self) -> str | None:
        return self.stated

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        from mpiopt.data.formats.hdf5 import opened, slice_of

        start, stop = block(self.total, self.comm.size, self.comm.rank)
        r, path = self.reader, self.path
        with opened(path) as file:
            indptr = slice_of(path, file, "indptr", start, stop + 1, np.int64)
            if (np.diff(indptr) < 0).any() or indptr.min() < 0 or indptr.max() > self.stored:
                raise ValueError(f"{path}: indptr must ascend from 0 to {self.stored}, the number of stored values")
            a = start
            while a < stop:
                full = int(np.searchsorted(indptr, indptr[a - start] + nbytes // 12, side="right")) - 1 + start
                b = min(max(a + 1, full), a + max(1, nbytes // 16), stop)
                ends = indptr[a - start : b - start + 1]
                indices = slice_of(path, file, "indices", ends[0], ends[-1], np.int64)
                values = slice_of(path, file, "data", ends[0], ends[-1], np.float64)
                has = [slice_of(path, file, n, a, b, np.float64) if n in file else None for n in (r.y, r.weight)]
                rows = _rows(path, a, ends - ends[0], indices, values, self.limit)
                yield RawRows(rows, np.full(b - a, np.nan) if has[0] is None else has[0], has[1], a)
                a = b


def _rows(
    path: str,
    start: int,
    indptr: np.ndarray[tuple[int], np.dtype[np.int64]],
    indices: np.ndarray[tuple[int], np.dtype[np.int64]],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    limit: int | None,
) -> CsrRows:
    top = limit if limit is not None else (1 << 31) - 1
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
