"""Plain, gz and bz2 files as streams of their content."""

from __future__ import annotations

import bz2
import gzip
import os
from typing import IO, NamedTuple

GZIP, BZIP2 = b"\x1f\x8b", b"BZh"  # first bytes of a file


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


def open_unpacked(path: str) -> IO[bytes]:
    """Open a plain, gz or bz2 file, which its first bytes tell, as a stream of its content."""
    with open(path, "rb") as file:
        magic = file.read(3)
    if magic[:2] == GZIP:
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return bz2.open(path, "rb") if magic == BZIP2 else open(path, "rb")


def read_head(path: str, nbytes: int) -> FileHead:
    """Read the first `nbytes` of the content, up to the end of a line."""
    with open(path, "rb") as raw:
        text = _unpack(raw).read(nbytes)
        share = raw.tell() / max(1, os.path.getsize(path))
        if len(text) < nbytes:
            return FileHead(text, 1.0)
    whole = text[: text.rfind(b"\n") + 1]
    return FileHead(whole, share * len(whole) / len(text))
