"""Blocks of a CSV table that hold plain numbers alone: read by the parser for rows of numbers, faster than Arrow's.

Both parsers read the same words as the same numbers. Where a block holds anything else, Arrow reads it, so that types
do not depend on how a text is divided into blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.formats.text_blocks import Block, exact_numbers
from mpiopt.kernels import text_parse

OTHER = (b'"', b"#", b" ", b"\t")  # what the two parsers take differently
SHORTEST = 20  # characters of a number that needs an exact decision, at least


def plain_numbers(block: Block, separator: str, fields: int) -> NDArray[np.float64] | None:
    """Return the numbers of a block, (rows, fields); None if it holds anything but numbers and separators."""
    text, mark = block.text.tobytes(), separator.encode()
    if mark == b" " or any(other in text for other in OTHER if other != mark):
        return None
    if text.count(b"\r") != text.count(b"\r\n") or text.count(b"\n") != block.rows:
        return None
    values = np.empty((block.rows, fields))
    slow, fault = np.empty((len(text) // SHORTEST + 1, 3), np.int64), np.zeros(2, np.int64)
    hard = text_parse.parse_csv(block.text, ord(separator), values, slow, fault)
    if fault[0]:
        return None
    for slot, value in exact_numbers(block, slow[:hard]):
        values.flat[slot] = value
    return values
