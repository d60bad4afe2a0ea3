"""HDF5 files with the rows as a dense array: `/X` (n, d), `/y` (n,) and, optionally, `/weight` (n,)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width, row_ranges
from mpiopt.data.schema import Schema


@dataclass(frozen=True)
class Hdf5Dense(Reader):
    """HDF5 with dense rows; the options name the datasets; auto: `/y` and `/weight`, if they are there."""

    name: ClassVar[str] = "hdf5-dense"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".he5")
    x: str = "X"
    y: str = "auto"
    weight: str = "auto"
    linked: str = "refuse"  # rows in other files, by links, virtual datasets or external storage: refuse | allow

    def __post_init__(self) -> None:
        if self.linked not in ("refuse", "allow"):
            raise ValueError(f"{self.name}: linked must be refuse or allow, not {self.linked!r}")

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the first bytes are HDF5's and the rows are not in CSR form."""
        from mpiopt.data.formats.hdf5 import SIGNATURE
        from mpiopt.data.formats.hdf5_groups import is_csr

        return head.startswith(SIGNATURE) and not is_csr(path)

    def like(self, path: str, schema: Schema, given: Collection[str]) -> Reader:
        """Return a reader that takes the usual datasets where those of the training file are missing."""
        from mpiopt.data.formats import hdf5

        return replace(self, **hdf5.options_like(path, {"y": self.y, "weight": self.weight}, given))

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the shapes, on each rank."""
        from mpiopt.data.formats import hdf5

        with comm.agree_on_errors(), hdf5.open_data(path) as file:
            n, d = hdf5.dataset(path, file, self.x, 2, None, linked=self.linked).shape
            found = hdf5.find_vectors(path, file, {"y": self.y, "weight": self.weight}, (self.x,), n, self.linked)
            check_width(path, d, features)
            stated = hdf5.stated(path, file, comm.size, n, d, self.linked)
            return _Source(
                path,
                n,
                d,
                False,
                stated.names,
                stated.nbytes,
                self.x,
                found.names,
                comm,
                checksum=stated.checksum,
                schema=Schema(self.name, self.stated(), table=stated.table).at(**found.places),
                notes=found.notes,
            )


@dataclass(eq=False)
class _Source(Source):
    x: str
    vectors: dict[str, str]
    comm: Comm

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        from mpiopt.data.formats import hdf5

        with hdf5.open_data(self.path) as file:
            for a, b in row_ranges(self.total, self.comm, 8 * (self.features or 0), nbytes):
                rows = hdf5.read_slice(self.path, file, self.x, a, b, np.float64)
                yield hdf5.with_vectors(self.path, file, self.vectors, rows, a, b)
