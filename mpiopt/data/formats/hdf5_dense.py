"""HDF5 files with the rows as a dense array: `/X` (n, d), `/y` (n,) and, optionally, `/weight` (n,)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width, row_ranges


@dataclass(frozen=True)
class Hdf5Dense(Reader):
    """HDF5 with dense rows; the options name the datasets; `y` and `weight` may be missing."""

    name: ClassVar[str] = "hdf5-dense"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".he5")
    x: str = "X"
    y: str = "y"
    weight: str = "weight"

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the first bytes are HDF5's and the rows are not in CSR form."""
        from mpiopt.data.formats.hdf5 import SIGNATURE, is_csr

        return head.startswith(SIGNATURE) and not is_csr(path)

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the shapes, on each rank."""
        from mpiopt.data.formats import hdf5

        with comm.agree_on_errors(), hdf5.open_data(path) as file:
            n, d = hdf5.dataset(path, file, self.x, 2, None).shape
            hdf5.check_vectors(path, file, (self.y, self.weight), n)
            check_width(path, d, features)
            stated = hdf5.stated(path, file, comm.size)
            return _Source(n, d, False, stated.names, stated.nbytes, path, self, comm, checksum=stated.checksum)


@dataclass(eq=False)
class _Source(Source):
    path: str
    reader: Hdf5Dense
    comm: Comm

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        from mpiopt.data.formats import hdf5

        reader = self.reader
        with hdf5.open_data(self.path) as file:
            for a, b in row_ranges(self.total, self.comm, 8 * (self.features or 0), nbytes):
                rows = hdf5.read_slice(self.path, file, reader.x, a, b, np.float64)
                label, weight = hdf5.read_vectors(self.path, file, (reader.y, reader.weight), a, b)
                yield RawRows(rows, np.full(b - a, np.nan) if label is None else label, weight, a)
