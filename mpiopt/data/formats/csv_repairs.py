"""Blocks of CSV text that the fast parser refuses, made plain: quoted numbers, and separators at the ends of lines.

The parser reads plain numbers only, so that the usual file costs nothing more. A block in which it finds a fault
comes here. Bytes are replaced by blanks and none is moved, so places in the text stay true.
"""

from __future__ import annotations

import csv
import re
from typing import NamedTuple

import numpy as np

from mpiopt.data.formats.text_blocks import Bytes

QUOTE, NEWLINE = ord('"'), ord("\n")
QUOTED = re.compile(r'"[^"]*"')


class QuoteFault(NamedTuple):
    """A separator inside quotes, or a line that ends inside them."""

    at: int  # byte of the block
    open: bool  # whether the line ends inside quotes


def quote_fault(text: Bytes, separator: int) -> QuoteFault | None:
    """Return the first place where quotes hold more than one field; None if there is none."""
    raw = np.frombuffer(_without_comments(text.tobytes()), np.uint8)
    inside = np.cumsum(raw == QUOTE) % 2 == 1
    wrong = inside & ((raw == separator) | (raw == NEWLINE))
    if not wrong.any():
        return None
    at = int(np.argmax(wrong))
    begin = int(np.flatnonzero(raw[:at] == QUOTE)[-1])
    rest = raw[begin + 1 :].tobytes()
    return QuoteFault(begin, b'"' not in rest[: rest.find(b"\n")])


def plain(text: Bytes, separator: int) -> Bytes:
    """Return a copy of the text with blanks for the quotes, and for a separator with which a line ends."""
    raw = text.tobytes().replace(b'"', b" ")
    if separator != ord(" "):
        blanks = b" \r" if separator == ord("\t") else b" \t\r"
        last = re.escape(bytes([separator])) + rb"(?=[" + blanks + rb"]*(?:#[^\n]*)?\n)"
        raw = re.sub(last, b" ", raw)
    return np.frombuffer(raw, np.uint8)


def split_fields(line: str, separator: str) -> list[str]:
    """Return the fields of one line, without quotes and blanks around them; a separator at its end ends the last."""
    if separator == " ":
        return [field.strip('"') for field in re.findall(r'"[^"]*"|[^\s"]+', line)]
    if '"' in line:
        fields = next(csv.reader([line.strip(" ")], delimiter=separator, skipinitialspace=True))
    else:
        fields = line.split(separator)
    fields = [field.strip() for field in fields]
    return fields[:-1] if len(fields) > 1 and not fields[-1] else fields


def without_quoted(line: str) -> str:
    """Return a line without what stands in quotes, where a separator or # is part of a name."""
    return QUOTED.sub('""', line)


def _without_comments(raw: bytes) -> bytes:
    return re.sub(rb"#[^\n]*", lambda found: b" " * len(found[0]), raw)
