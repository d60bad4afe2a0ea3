"""An HDF5 file without the numbers of its large datasets: HDF5 lays it out in memory, the ranks fill in the numbers.

Parallel HDF5 ends the process, or never returns, if MPI-IO cannot write: on a full disk, at a quota, on one rank of
several. So HDF5 never writes to the disk here. Rank 0 lays out the file in memory; every rank writes its rows at
their offsets with plain system calls, whose errors are errors of Python; at last rank 0 writes what HDF5 has made.
The file that results is an HDF5 file like any other.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from mpiopt.core.hdf5 import LIBVER, SEALED
from mpiopt.core.seal import Part, gaps, seal

PAGE = 1 << 12  # bytes of memory that are kept or not


class Layout(NamedTuple):
    """The parts of a file that HDF5 has made, and the seal that covers them."""

    parts: list[Part]
    size: int  # of the content, bytes
    seal: bytes

    @property
    def all_parts(self) -> list[Part]:
        """The parts, and the seal behind the content."""
        return [*self.parts, Part(self.size, self.seal)]


class SparseMemory(io.RawIOBase):
    """A file in memory that keeps only the pages that were written."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._position = self.size = 0

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        self.size = self._position if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        """Write bytes at the position."""
        raw = bytes(memoryview(data).cast("B"))
        for start, stop, page, inside in _pages(self._position, len(raw)):
            kept = self._pages.setdefault(page, bytearray(PAGE))
            kept[inside : inside + stop - start] = raw[start:stop]
        self._position += len(raw)
        self.size = max(self.size, self._position)
        return len(raw)

    def readinto(self, buffer: Any) -> int:
        """Read bytes at the position; zeros where nothing was written."""
        view = memoryview(buffer).cast("B")
        n = max(0, min(len(view), self.size - self._position))
        for start, stop, page, inside in _pages(self._position, n):
            kept = self._pages.get(page)
            view[start:stop] = bytes(stop - start) if kept is None else kept[inside : inside + stop - start]
        self._position += n
        return n


def _pages(position: int, length: int) -> list[tuple[int, int, int, int]]:
    """Return (start, stop, page, offset in the page) of the pieces of `length` bytes at a position."""
    cuts, start = [], 0
    while start < length:
        page, inside = divmod(position + start, PAGE)
        stop = min(length, start + PAGE - inside)
        cuts.append((start, stop, page, inside))
        start = stop
    return cuts


class Skeleton:
    """An HDF5 file in memory, in which space for the numbers of datasets is reserved; one rank makes it.

    Attributes
    ----------
    file : h5py.File
        The file, for everything that is small.
    """

    def __init__(self) -> None:
        self._memory = SparseMemory()
        self._reserved: list[tuple[int, int]] = []
        self.file = h5py.File(self._memory, "w", libver=LIBVER)
        self.file.attrs[SEALED] = 1

    def reserve(self, name: str, shape: Sequence[int], dtype: Any) -> int:
        """Add a dataset, contiguous, and return where its first number must be written; 0 if it has none."""
        kind = np.dtype(dtype)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        properties.set_obj_track_times(False)  # equal content is an equal file
        links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        links.set_create_intermediate_group(True)
        space = h5py.h5s.create_simple(tuple(shape))
        made = h5py.h5d.create(self.file.id, name.encode(), h5py.h5t.py_create(kind, True), space, properties, links)
        start, nbytes = made.get_offset(), kind.itemsize * int(np.prod(shape, dtype=np.int64))
        if nbytes == 0 or start is None:
            return 0
        self._reserved.append((start, start + nbytes))
        return int(start)

    def close(self) -> Layout:
        """Close the file; return all of it but the reserved space."""
        self.file.close()
        parts = []
        for start, stop in gaps(self._memory.size, self._reserved):
            self._memory.seek(start)
            parts.append(Part(start, self._memory.read(stop - start) or b""))
        return Layout(parts, self._memory.size, seal(self._memory.size, parts))
