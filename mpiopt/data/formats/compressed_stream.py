"""Plain, gz, bz2, xz and zst files as streams of their content."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib
import io
import lzma
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, cast

from mpiopt.core.seal import DamagedFile

GZIP, BZIP2, XZ, ZSTANDARD = b"\x1f\x8b", b"BZh", b"\xfd7z", b"\x28\xb5\x2f"  # first bytes of a file
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
BUFFER = 1 << 17  # bytes that are unpacked at a time
LARGEST_DICTIONARY = 1 << 30  # bytes that an xz file may ask for; the largest preset takes 65 MB


class FileHead(NamedTuple):
    """The beginning of a file."""

    text: bytes  # whole lines of the content
    share: float  # of the file that they are, nearly


def is_compressed(magic: bytes) -> bool:
    """Return whether a file with these first three bytes is compressed."""
    return magic[:2] == GZIP or magic in (BZIP2, XZ, ZSTANDARD)


def without_packing(path: str) -> str:
    """Return a file's name without the suffix of a compression."""
    suffix = next((suffix for suffix in SUFFIXES if path.lower().endswith(suffix)), "")
    return path[: len(path) - len(suffix)]


def _unpack(raw: IO[bytes]) -> IO[bytes]:
    """Return the content of an open file."""
    magic = raw.read(3)
    raw.seek(0)
    if magic[:2] == GZIP:
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if magic == BZIP2:
        return cast(IO[bytes], SeveralStreams(raw, bz2.BZ2Decompressor))
    if magic == XZ:
        return cast(IO[bytes], SeveralStreams(raw, lambda: lzma.LZMADecompressor(memlimit=LARGEST_DICTIONARY)))
    return cast(IO[bytes], ZstandardFile(raw)) if magic == ZSTANDARD else raw


class ForwardFile(ABC):
    """The content of a compressed file, which is read from its beginning."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._at = raw, 0
        self._inner: Any = self._begin()

    @abstractmethod
    def _begin(self) -> Any:
        """Return what unpacks the file from its beginning."""

    @abstractmethod
    def _more(self, nbytes: int) -> bytes:
        """Return some of the next bytes; none at the end."""

    def read(self, nbytes: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        parts: list[bytes] = []
        while nbytes > 0 and (part := self._more(nbytes)):
            parts.append(part)
            nbytes -= len(part)
        self._at += sum(map(len, parts))
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position in the content, by reading up to it."""
        if whence == io.SEEK_CUR:
            offset += self._at
        elif whence == io.SEEK_END:
            while self.read(BUFFER):
                pass
            offset += self._at
        if offset < self._at:
            self._inner, self._at = self._begin(), 0
        while self._at < offset and self.read(min(BUFFER, offset - self._at)):
            pass
        return self._at

    def tell(self) -> int:
        """Return the position in the content."""
        return self._at

    def close(self) -> None:
        """Forget the content; who has opened the file closes it."""
        self._inner = None


class SeveralStreams(ForwardFile):
    """The content of a bz2 or xz file, which may be several streams one behind the other.

    `BZ2File` and `LZMAFile` end without an error where a stream begins with bytes that they do not know, and so would
    leave out the rows behind a damaged one. Zeros at the end are allowed.
    """

    def __init__(self, raw: IO[bytes], stream: Callable[[], Any]) -> None:
        self._stream = stream
        super().__init__(raw)

    def _begin(self) -> Any:
        self._raw.seek(0)
        return self._stream()

    def _more(self, nbytes: int) -> bytes:
        while True:
            packed = b""
            if self._inner.eof:
                packed = self._inner.unused_data.lstrip(b"\0")
                while not packed and (piece := self._raw.read(BUFFER)):
                    packed = piece.lstrip(b"\0")
                if not packed:
                    return b""
                self._inner = self._stream()
            elif self._inner.needs_input:
                packed = self._raw.read(BUFFER)
                if not packed:
                    raise EOFError("it ends before the end of a stream")
            content = self._inner.decompress(packed, nbytes)
            if content:
                return bytes(content)


class ZstandardFile(ForwardFile):
    """The content of a zst file, unpacked by pyarrow: Python 3.11 has no zstd of its own."""

    def __init__(self, raw: IO[bytes]) -> None:
        try:
            self._arrow = importlib.import_module("pyarrow")
        except ImportError:
            raise ValueError(
                f"{raw.name}: zst files are read with pyarrow, which is not installed: pip install mpiopt[tables]"
            ) from None
        super().__init__(raw)

    def _begin(self) -> Any:
        self._raw.seek(0)
        return self._arrow.CompressedInputStream(self._arrow.PythonFile(self._raw, mode="r"), "zstd")

    def _more(self, nbytes: int) -> bytes:
        return bytes(self._inner.read(nbytes))


class UnpackedFile(io.RawIOBase):
    """The content of a compressed file; where that is damaged, ValueError with the file's name."""

    def __init__(self, path: str, raw: IO[bytes]) -> None:
        self._path, self._raw, self._inner = path, raw, _unpack(raw)

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
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if getattr(error, "errno", None) is not None:
                raise
            raise DamagedFile(f"{self._path}: the compressed file is damaged or cut off: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._inner.close()
        self._raw.close()
        super().close()


def open_unpacked(path: str) -> IO[bytes]:
    """Open a file, whose first bytes tell how it is packed, as a stream of its content."""
    with open(path, "rb") as file:
        magic = file.read(3)
    if not is_compressed(magic):
        return open(path, "rb")
    return io.BufferedReader(UnpackedFile(path, open(path, "rb")), BUFFER)


def read_head(path: str, nbytes: int) -> FileHead:
    """Read the first `nbytes` of the content, up to the end of a line."""
    with open(path, "rb") as raw:
        text = _unpack(raw).read(nbytes)
        share = raw.tell() / max(1, os.path.getsize(path))
        if len(text) < nbytes:
            return FileHead(text, 1.0)
    whole = text[: text.rfind(b"\n") + 1]
    return FileHead(whole, share * len(whole) / len(text))
