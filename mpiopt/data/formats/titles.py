"""Whether the first line of a table holds titles: words, or whole numbers where the rows below hold others.

Tools that number their columns write `0,1,2,…`. Read as a row, such a line is silent nonsense; so it counts as titles
where the lines below show that it is none of them, and a note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from mpiopt.data.formats.text_blocks import number_hint

LINES = 100  # rows below that are looked at; enough to see what is usual in a column
ENOUGH = 10  # rows below from which on they show what is usual; a small table may begin with 1,2,3
FEW = 3  # fields: fewer whole numbers in a row, such as 0,1, are found in data, too
MANY = 5  # fields: so many steps of equal length are no coincidence, whatever the rows below hold


class FirstLine(NamedTuple):
    """What the first line of a table is."""

    titled: bool
    note: str = ""  # a line for the user where that is not plain


def judge(fields: Sequence[str], rows: Sequence[Sequence[str]]) -> FirstLine:
    """Return whether `fields` are titles; `rows` are the fields of the lines below."""
    words = [is_word(field) for field in fields]
    if all(words):
        return FirstLine(True)
    numbers = [field for field, word in zip(fields, words, strict=True) if not word]
    shown = ", ".join(fields[:3]) + (", …" if len(fields) > 3 else "")
    as_titles = FirstLine(
        True, f"the first line ({shown}) is read as titles; --format csv:header=no reads it as a row"
    )
    if any(words):  # no row of numbers has a word in it
        whole = all(field.isdigit() for field in numbers) and len({*numbers}) == len(numbers)
        return as_titles if whole else FirstLine(False)
    if len(fields) < FEW or not _steps(fields):
        return FirstLine(False)
    below = [row for row in rows if len(row) == len(fields)]
    if (
        len(below) >= ENOUGH
        and not _steps(below[0])
        and (len(fields) >= MANY or _unlike(fields, below) >= len(fields) - 1)
    ):
        return as_titles
    return FirstLine(False, f"the first line ({shown}) is read as a row; --format csv:header=yes reads it as titles")


def is_word(field: str) -> bool:
    """Return whether a field is a word, but not one for a missing number, nor a number with a decimal comma."""
    if _is_number(field) or field.strip().lower() in ("", "na", "null", "none", "?", "-"):
        return False
    return not (number_hint(field) and _is_number(field.replace(",", "")))


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _steps(fields: Sequence[str]) -> bool:
    """Return whether the fields are whole numbers that grow in equal steps."""
    if not all(field.isdigit() for field in fields):
        return False
    numbers = [int(field) for field in fields]
    steps = {b - a for a, b in pairwise(numbers)}
    return len(steps) == 1 and min(steps) > 0


def _unlike(fields: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return in how many columns the first line's whole number is unlike those below: not whole, or out of range."""
    count = 0
    for place, field in enumerate(fields):
        column = [_number(row[place]) for row in rows]
        fractions = sum(value != int(value) for value in column)
        count += fractions > len(column) // 2 or not min(column) <= int(field) <= max(column)
    return count


def _number(field: str) -> float:
    try:
        value = float(field)
    except ValueError:
        return 0.5
    return value if abs(value) < 1e300 else 0.5
