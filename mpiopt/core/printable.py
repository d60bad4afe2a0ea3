"""Text of files, names and jobs as a terminal may show it."""

from __future__ import annotations

import re

# Control characters but newline and tab, and the marks that turn the direction of writing: a terminal obeys them.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return the text with each character that a terminal obeys written as its number.

    Examples
    --------
    >>> from mpiopt.core.printable import printable
    >>> print(printable("red: " + chr(27) + "[31m"))
    red: \\x1b[31m
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
