"""Plain, gz and bz2 files as streams of their content."""

from __future__ import annotations

import bz2
import gzip
from typing import IO


def unpacked(path: str) -> IO[bytes]:
    """Open a plain, gz or bz2 file, told by its first bytes, as a stream of its content."""
    with open(path, "rb") as file:
        magic = file.read(3)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return bz2.open(path, "rb") if magic == b"BZh" else open(path, "rb")
