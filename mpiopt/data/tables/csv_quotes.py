"""Wrong quotes of a CSV table that Arrow takes silently: one that is never closed, text after a closing one."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

QUOTE, NEWLINE, RETURN = b'"\n\r'
SHOWN = 40  # characters of a field in a message


class Patterns(NamedTuple):
    """A field and a line of a table with one separator. Quotes count where they begin a field, as for Arrow."""

    field: re.Pattern[bytes]
    line: re.Pattern[bytes]


def patterns(separator: str) -> Patterns:
    """Return the patterns for a separator."""
    mark = re.escape(separator.encode())
    field = rb'(?:"(?:[^"]|"")*+"|(?!")[^' + mark + rb"]*+)"
    return Patterns(re.compile(field + rb"(?:" + mark + rb"|$)"), re.compile(field + rb"(?:" + mark + field + rb")*"))


def may_be_wrong(text: bytes, separator: str) -> bool:
    """Return whether quotes may be wrong somewhere in whole lines; fast, and False for usual text.

    Quotes are taken in pairs: before the first one and after the second one a field ends, or there is another quote.
    """
    raw = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(raw == QUOTE)
    if len(quotes) == 0:
        return False
    if len(quotes) % 2:
        return True
    ends = np.searchsorted(quotes, np.flatnonzero(raw == NEWLINE))  # quotes before the end of each line
    outside = np.zeros(256, np.bool_)
    outside[[ord(separator), NEWLINE, RETURN, QUOTE]] = True
    opening, closing = quotes[::2], quotes[1::2]
    before, after = outside[raw[opening[opening > 0] - 1]], outside[raw[closing + 1]]
    return not ((ends % 2 == 0).all() and before.all() and after.all())


def fault_of_line(line: bytes, known: Patterns) -> str:
    """Return what is wrong with the quotes of a line, "" if nothing is."""
    line = line.rstrip(b"\r")
    if QUOTE not in line or known.line.fullmatch(line):
        return ""
    at = 0
    while (found := known.field.match(line, at)) and found.end() > at:
        at = found.end()
    shown = line[at : at + SHOWN].decode("utf-8", "replace")
    inside = re.match(rb'"(?:[^"]|"")*+"', line[at:])
    if inside is None:
        return f"found {shown}: the quotes are not closed in this line; write such a table as Parquet"
    return f"found {shown}: there is text after the closing quote; double a quote that is part of the text"
