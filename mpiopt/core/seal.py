"""The seal of a file: checksums that stand behind its content and are looked at before HDF5 opens the file.

HDF5 has errors that damaged files bring out: a flipped bit can end the process or let it run for ever. So every file
that mpiopt keeps ends with a seal. HDF5 does not read it, since a file says itself where its content ends. Another
program that changes the file cuts it off. The seal covers what HDF5 reads when it opens the file; the rows of a
checkpoint and of converted data have checksums of their own, which are checked when they are read.

    content | BEGIN | number of ranges, size of the content | start, stop, CRC-32 of each range | CRC-32 of the seal
            | zeros | length of the seal | END
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

BEGIN, END = b"\nmpiopt seal 1\r\n", b"\nmpiopt end 01\r\n"
SMALLEST = 1024  # bytes of a seal, so that a few hundred bytes that are lost do not hide that there was one
LOOK = 1 << 16  # bytes at the end of a file in which a damaged seal is looked for
PIECE = 1 << 22  # bytes that are read at a time
NUMBER = np.dtype("<i8")
WORD = NUMBER.itemsize


class DamagedFile(ValueError):
    """A file is not as it was written."""


class Part(NamedTuple):
    """Bytes of a file, and where they stand."""

    start: int
    content: bytes


def seal(size: int, parts: Iterable[Part]) -> bytes:
    """Return the seal of a file whose content has `size` bytes and is covered where `parts` are."""
    ranges = [(part.start, part.start + len(part.content), zlib.crc32(part.content)) for part in parts]
    table = np.array([len(ranges), size, *(number for each in ranges for number in each)], NUMBER)
    head = BEGIN + table.tobytes()
    head += _numbers(zlib.crc32(head))
    length = max(SMALLEST, len(head) + WORD + len(END))
    return head.ljust(length - WORD - len(END), b"\0") + _numbers(length) + END


def sealed(image: bytes) -> bytes:
    """Return the content of a file with the seal of all of it."""
    return image + seal(len(image), [Part(0, image)])


def check_seal(path: str | Path) -> bool:
    """Return whether a file has a seal, which then is right.

    Raises
    ------
    DamagedFile
        One line: what the seal covers, or the seal itself, is not as it was written.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - LOOK))
        tail = file.read()
        if not tail.endswith(END):
            if BEGIN in tail or END in tail:
                raise DamagedFile(f"{path}: is damaged: it is cut off, or its end is overwritten")
            return False
        damage = _damage(file, size, tail)
    if damage:
        raise DamagedFile(f"{path}: is damaged: {damage}")
    return True


def without_seal(content: bytes) -> bytes:
    """Return the content of a sealed file without its seal; all of it if there is none."""
    return content[: len(content) - _length(content)] if content.endswith(END) else content


def _damage(file: IO[bytes], size: int, tail: bytes) -> str:
    """Return in words what is wrong; "" if all is right."""
    length = _length(tail)
    if not SMALLEST <= length <= size:
        return "its seal has a wrong length"
    file.seek(size - length)
    text = file.read(length)
    count = int(np.frombuffer(text, NUMBER, 1, len(BEGIN))[0])
    end = len(BEGIN) + WORD * (2 + 3 * count)
    if not text.startswith(BEGIN) or not count >= 0 or end + 2 * WORD + len(END) > length:
        return "its seal cannot be read"
    if text[end : end + WORD] != _numbers(zlib.crc32(text[:end])):
        return "the checksum of its seal is wrong"
    if text[end + WORD : length - WORD - len(END)].strip(b"\0"):
        return "its seal is not as it was written"
    table = np.frombuffer(text, NUMBER, 2 + 3 * count, len(BEGIN))
    if table[1] != size - length:
        return f"its content has {size - length:,} bytes, its seal says {table[1]:,}"
    for start, stop, crc in table[2:].reshape(-1, 3).tolist():
        if _checksum(file, start, stop) != crc:
            return f"the checksum of bytes {start:,} to {stop:,} is wrong"
    return ""


def _length(tail: bytes) -> int:
    return int(np.frombuffer(tail[-WORD - len(END) : -len(END)], NUMBER)[0]) if len(tail) >= WORD + len(END) else -1


def _checksum(file: IO[bytes], start: int, stop: int) -> int:
    file.seek(start)
    crc, left = 0, stop - start
    while left > 0:
        piece = file.read(min(left, PIECE))
        if not piece:
            return -1
        crc, left = zlib.crc32(piece, crc), left - len(piece)
    return crc


def _numbers(*values: int) -> bytes:
    return np.array(values, NUMBER).tobytes()


def gaps(size: int, reserved: Sequence[tuple[int, int]] | NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the ranges of 0 … size that the reserved ranges (start, stop) leave."""
    found, at = [], 0
    for start, stop in sorted((int(a), int(b)) for a, b in reserved):
        if start > at:
            found.append((at, start))
        at = max(at, stop)
    return [*found, (at, size)] if size > at else found
