"""Plain, gz and bz2 files as streams of their content."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from mpiopt.core.seal import DamagedFile

GZIP, BZIP2 = b"\x1f\x8b", b"BZh"  # first bytes of a file
BUFFER = 1 << 17  # bytes that are unpacked at a time


class FileHead(NamedTuple):
    """The beginning of a file."""

    text: bytes  # whole lines of the content
    share: float  # of the file that they are, nearly


def is_compressed(magic: bytes) -> bool:
    """Return whether a file with these first three bytes is compressed."""
    return magic[:2] == GZIP or magic == BZIP2


def _unpack(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(3)
    raw.seek(0)
    if magic[:2] == GZIP:
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    return bz2.BZ2File(raw) if magic == BZIP2 else raw


class UnpackedFile(io.RawIOBase):
    """The content of a compressed file; where that is damaged, ValueError with the file's name."""

    def __init__(self, path: str, inner: IO[bytes]) -> None:
        self._path, self._inner = path, inner

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position in the content."""
        with self._damage_told():
            return self._inner.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the content."""
        return self._inner.tell()

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        view = memoryview(buffer).cast("B")
        with self._damage_told():
            found = self._inner.read(len(view))
        view[: len(found)] = found
        return len(found)

    @contextlib.contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError, zlib.error) as error:
            if getattr(error, "errno", None) is not None:
                raise
            raise DamagedFile(f"{self._path}: the compressed file is damaged or cut off: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._inner.close()
        super().close()


def open_unpacked(path: str) -> IO[bytes]:
    """Open a plain, gz or bz2 file, which its first bytes tell, as a stream of its content."""
    with open(path, "rb") as file:
        magic = file.read(3)
    if not is_compressed(magic):
        return open(path, "rb")
    unpack: Any = gzip.GzipFile if magic[:2] == GZIP else bz2.BZ2File
    return io.BufferedReader(UnpackedFile(path, unpack(path, "rb")), BUFFER)


def read_head(path: str, nbytes: int) -> FileHead:
    """Read the first `nbytes` of the content, up to the end of a line."""
    with open(path, "rb") as raw:
        text = _unpack(raw).read(nbytes)
        share = raw.tell() / max(1, os.path.getsize(path))
        if len(text) < nbytes:
            return FileHead(text, 1.0)
    whole = text[: text.rfind(b"\n") + 1]
    return FileHead(whole, share * len(whole) / len(text))
