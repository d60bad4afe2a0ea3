"""The IDX format of the MNIST family: images in one file, labels in another in the same folder, plain or gz.

https://yann.lecun.com/exdb/mnist/: two zero bytes, a byte for the type, a byte for the number of axes, the lengths
of the axes as big-endian 32-bit integers, then the entries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width, row_ranges
from mpiopt.data.formats.compressed_stream import open_unpacked

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Idx(Reader):
    """Images (…-images-idx3-ubyte[.gz]) as rows of pixels; the labels are found by name (…-labels-idx1-ubyte)."""

    name: ClassVar[str] = "idx"
    suffixes: ClassVar[tuple[str, ...]] = ("-ubyte", "-ubyte.gz", ".idx", ".idx.gz")

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the first bytes are two zeros, a known type and a number of axes."""
        return len(head) > 3 and head[:2] == b"\0\0" and head[2] in _TYPES and 1 <= head[3] <= 4

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the headers of both files."""
        with comm.agree_on_errors():
            with open_unpacked(path) as stream:
                shape, _ = _header(path, stream)
            beside = _label_file(path)
            with open_unpacked(beside) as stream:
                count, _ = _header(beside, stream)
            if count[1:] or count[0] != shape[0]:
                raise ValueError(
                    f"{beside}: has shape {count}; {path} has {shape[0]} images: one label each is needed"
                )
            d = int(np.prod(shape[1:]))
            check_width(path, d, features)
            nbytes = os.path.getsize(path) + os.path.getsize(beside)
            return _Source(path, shape[0], d, False, None, nbytes, beside, comm)


def _label_file(path: str) -> str:
    """Return the file with the labels of an image file."""
    name = Path(path).name
    wanted = name.replace("images", "labels").replace("idx3", "idx1").replace("idx2", "idx1")
    stem = wanted.removesuffix(".gz")
    for candidate in (wanted, stem, stem + ".gz"):
        found = Path(path).with_name(candidate)
        if candidate != name and found.is_file():
            return str(found)
    raise ValueError(f"{path}: its labels must be in the same folder in {wanted}; there is no such file")


def _header(path: str, stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.number]]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= 4:
        raise ValueError(f"{path}: is not an IDX file: it begins with {head!r}")
    lengths = stream.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise ValueError(f"{path}: is cut off in its header")
    return tuple(int(n) for n in np.frombuffer(lengths, ">u4")), np.dtype(_TYPES[head[2]])


@dataclass(eq=False)
class _Source(Source):
    beside: str
    comm: Comm

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        d = self.features or 0
        with open_unpacked(self.path) as images, open_unpacked(self.beside) as names:
            kinds = [_header(p, s)[1] for p, s in ((self.path, images), (self.beside, names))]
            offsets = images.tell(), names.tell()
            for start, stop in row_ranges(self.total, self.comm, 8 * d, nbytes):
                images.seek(offsets[0] + start * d * kinds[0].itemsize)
                names.seek(offsets[1] + start * kinds[1].itemsize)
                rows = _entries(self.path, images, kinds[0], (stop - start) * d).reshape(stop - start, d)
                label = _entries(self.beside, names, kinds[1], stop - start)
                if stop == self.total:
                    for path, stream in ((self.path, images), (self.beside, names)):
                        _refuse_more(path, stream)
                yield RawRows(rows, label, None, start)


def _refuse_more(path: str, stream: IO[bytes]) -> None:
    """Raise ValueError if a stream goes on after the last entry that its header states."""
    if stream.read(1):
        raise ValueError(f"{path}: has more entries than its header states")


def _entries(path: str, stream: IO[bytes], kind: np.dtype[np.number], count: int) -> NDArray[np.float64]:
    try:
        raw = stream.read(count * kind.itemsize)
    except EOFError:
        raw = b""
    if len(raw) < count * kind.itemsize:
        raise ValueError(f"{path}: is cut off: its header states more entries than it has")
    return np.frombuffer(raw, kind).astype(np.float64)
