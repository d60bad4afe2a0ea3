"""Text in blocks of whole lines, each rank its part, with the numbers of the first line and row of each block.

A plain file is divided into one range of bytes for each rank; a rank starts after the first newline at or after the
start of its range. A compressed stream cannot be divided: every rank decompresses all of it and keeps every size-th
block. That takes no longer than one rank would take, and nothing has to be sent.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.seal import DamagedFile
from mpiopt.data.formats.base import PIECE
from mpiopt.data.formats.compressed_stream import is_compressed, open_unpacked
from mpiopt.kernels.text_parse import survey

Bytes = NDArray[np.uint8]
NEAR_END = 4096  # bytes at the end of a block that are searched for a newline first
SHOWN = 200  # bytes of a line that are searched for the field to show


# Byte-order marks of texts that are not UTF-8; the longer ones first, which begin like the shorter.
OTHER_TEXTS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
COMMA = re.compile(r"(?:^|[:'\s])[-+]?\d[\d.]*(,\d+)+(?:[.eE'\s]|$)")  # a number with commas


@dataclass(frozen=True, eq=False)
class Block:
    """Whole lines of a text; the last byte is a newline."""

    text: Bytes
    line: int  # number of the first line, from 0
    row: int  # number of the first row, from 0
    rows: int
    colons: int


def text_start(path: str) -> int:
    """Return the byte at which the content of a text begins, after the byte-order mark of UTF-8 if there is one.

    Raises
    ------
    ValueError
        If the text is UTF-16 or UTF-32, or its lines end with a carriage return alone.
    """
    try:
        with open_unpacked(path) as stream:
            head = stream.read(NEAR_END)
    except DamagedFile:
        return 0  # damaged; the reading of the blocks says so
    encoding = next((name for mark, name in OTHER_TEXTS if head.startswith(mark)), "")
    if encoding:
        raise ValueError(f"{path}: is {encoding} text; convert it: iconv -f {encoding} -t UTF-8 {path} > NEW")
    if b"\r" in head.rstrip(b"\r") and b"\n" not in head:
        raise ValueError(
            f"{path}: its lines end with a carriage return alone; convert it: tr '\\r' '\\n' < {path} > NEW"
        )
    return len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0


def number_hint(found: str) -> str:
    """Return advice for a number with a decimal comma or with separators of thousands; "" for other text."""
    return "; write a decimal point, and no separators of thousands" if COMMA.search(found) else ""


class TextFile:
    """A text file that all ranks have counted: the rows of all ranks, and where this rank starts."""

    def __init__(self, path: str, comm: Comm, skip: int = 0, skipped_lines: int = 0) -> None:
        self.path, self._comm, self._skip = path, comm, skip
        self._size = os.path.getsize(path)
        with open(path, "rb") as file:
            self.plain = not is_compressed(file.read(3))
        with comm.agree_on_errors():
            mine = self._count()
        all_ranks = comm.allgather(mine[None])
        counts = np.concatenate(all_ranks) if self.plain else all_ranks[0]
        before = counts[: comm.rank].sum(axis=0) if self.plain else np.zeros(4, np.int64)
        self._line, self._row = int(before[0]) + skipped_lines, int(before[1])
        self.rows = int(counts[:, 1].sum())
        self.has_index_zero = bool(counts[:, 3].sum())
        self.nbytes = self._size // comm.size if self.plain else self._size

    def _count(self) -> NDArray[np.int64]:
        counts = np.zeros(4, np.int64)
        for text in self._texts(PIECE):
            counts += survey(text)
        return counts

    def blocks(self, nbytes: int) -> Iterator[Block]:
        """Read this rank's blocks, of about `nbytes` each."""
        line, row = self._line, self._row
        for i, text in enumerate(self._texts(nbytes)):
            lines, rows, colons, _ = survey(text)
            if self.plain or i % self._comm.size == self._comm.rank:
                yield Block(text, line, row, rows, colons)
            line, row = line + lines, row + rows

    def _texts(self, nbytes: int) -> Iterator[Bytes]:
        with open_unpacked(self.path) as stream:
            begin, end = self._range(stream)
            stream.seek(begin)
            yield from whole_lines(stream, end - begin, nbytes)

    def _range(self, stream: IO[bytes]) -> tuple[int, int]:
        if not self.plain:
            return self._skip, 1 << 62
        rank, size, rest = self._comm.rank, self._comm.size, self._size - self._skip
        cuts = [self._skip + rest * r // size for r in (rank, rank + 1)]
        begin, end = (self._next_line(stream, cut) for cut in cuts)
        return begin, end

    def _next_line(self, stream: IO[bytes], at: int) -> int:
        """Return the first start of a line at or after byte `at`."""
        if at <= self._skip:
            return self._skip
        stream.seek(at - 1)
        stream.readline()
        return stream.tell()


def whole_lines(stream: IO[bytes], length: int, nbytes: int) -> Iterator[Bytes]:
    """Read `length` bytes in blocks of about `nbytes` that end with a newline; one is added at the end if missing.

    A block is a view of a buffer that the next one overwrites.
    """
    buffer, kept = np.empty(nbytes + 1, np.uint8), 0
    while True:
        if kept == len(buffer) - 1:
            buffer = np.concatenate([buffer, np.empty(len(buffer), np.uint8)])  # a line longer than a block
        room = min(len(buffer) - 1 - kept, length)
        got: int = stream.readinto(buffer[kept : kept + room].data)  # type: ignore[attr-defined]
        if not got:
            break
        length, filled = length - got, kept + got
        cut = _after_last_newline(buffer, kept, filled)
        if cut > 0:
            yield buffer[:cut]
            buffer[: filled - cut] = buffer[cut:filled].copy()
        kept = filled - cut
    if kept:
        buffer[kept] = 10
        yield buffer[: kept + 1]


def _after_last_newline(buffer: Bytes, start: int, stop: int) -> int:
    """Return the place after the last newline in buffer[start:stop], or 0."""
    for low in (max(start, stop - NEAR_END), start):
        found = buffer[low:stop].tobytes().rfind(b"\n")
        if found >= 0:
            return low + found + 1
    return 0


def locate(path: str, block: Block, at: int, separator: str = " ") -> tuple[str, str]:
    """Return `path, line …, column …` of byte `at` of a block, and what is found there, for a message."""
    raw = block.text.tobytes()
    line = block.line + raw.count(b"\n", 0, at) + 1
    column = at - (raw.rfind(b"\n", 0, at) + 1) + 1
    token = raw[at : at + SHOWN].split(b"\n")[0].split(separator.encode() if separator.strip() else None) or [b""]
    shown = token[0].strip()[:40].decode("ascii", "backslashreplace")
    missing = "an empty field" if raw[at : at + 1] == separator.encode() else "the end of the line"
    return f"{path}, line {line}, column {column}", repr(shown) if shown else missing


def exact_numbers(block: Block, slow: NDArray[np.int64]) -> Iterator[tuple[int, float]]:
    """Yield slot and value of the numbers that have too many digits for the kernel."""
    for slot, begin, end in slow:
        yield int(slot), float(block.text[begin:end].tobytes())
