"""Plain, gz and bz2 files as streams of their content."""

from __future__ import annotations

import bz2
import gzip
import os
from typing import IO


def unpacked(path: str) -> IO[bytes]:
    """Open a plain, gz or bz2 file, told by its first bytes, as a stream of its content."""
    with open(path, "rb") as file:
        magic = file.read(3)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return bz2.open(path, "rb") if magic == b"BZh" else open(path, "rb")


def _content(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(3)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    return bz2.BZ2File(raw) if magic == b"BZh" else raw


def head(path: str, nbytes: int) -> tuple[bytes, float]:
    """Give the first bytes of the content, up to the end of a line, and what part of the file they are, nearly."""
    with open(path, "rb") as raw:
        text = _content(raw).read(nbytes)
        part = raw.tell() / max(1, os.path.getsize(path))
        if len(text) < nbytes:
            return text, 1.0
    whole = text[: text.rfind(b"\n") + 1]
    return whole, part * len(whole) / len(text)
