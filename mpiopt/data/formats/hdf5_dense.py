"""HDF5 files with the rows as a dense array: `/X` (n, d), `/y` (n,) and, if it likes, `/weight` (n,)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width, spans


@dataclass(frozen=True)
class Hdf5Dense(Reader):
    """HDF5 with dense rows; the options name the datasets; `y` and `weight` may be missing."""

    name: ClassVar[str] = "hdf5-dense"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".he5")
    x: str = "X"
    y: str = "y"
    weight: str = "weight"

    def recognises(self, path: str, head: bytes) -> bool:
        """Tell by the first bytes, and take all that is not in CSR form."""
        from mpiopt.data.formats.hdf5 import SIGNATURE, is_csr

        return head.startswith(SIGNATURE) and not is_csr(path)

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Look at the shapes; each rank for itself."""
        with comm.agree_on_errors():
            return self._open(path, comm, features)

    def _open(self, path: str, comm: Comm, features: int | None) -> Source:
        from mpiopt.data.formats import hdf5

        with hdf5.opened(path) as file:
            n, d = hdf5.dataset(path, file, self.x, 2, None).shape
            for name in (self.y, self.weight):
                if name in file:
                    hdf5.dataset(path, file, name, 1, n)
            check_width(path, d, features)
            nbytes = os.path.getsize(path) // comm.size
            stated = hdf5.stated_checksum(file)
            return _Source(n, d, False, hdf5.names_of(file), nbytes, path, self, comm, stated)


@dataclass(eq=False)
class _Source(Source):
    path: str
    reader: Hdf5Dense
    comm: Comm
    stated: str | None

    @property
    def checksum(self) -> str | None:
        return self.stated

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        from mpiopt.data.formats.hdf5 import opened, slice_of

        r = self.reader
        with opened(self.path) as file:
            for a, b in spans(self.total, self.comm, 8 * (self.features or 0), nbytes):
                rows = slice_of(self.path, file, r.x, a, b, np.float64)
                has = [slice_of(self.path, file, n, a, b, np.float64) if n in file else None for n in (r.y, r.weight)]
                yield RawRows(rows, np.full(b - a, np.nan) if has[0] is None else has[0], has[1], a)
