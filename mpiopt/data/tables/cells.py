"""The cells of a column as numbers with NaN for gaps, or as words with a number for each level."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import Vector
from mpiopt.data.tables import arrow
from mpiopt.kernels.text_hash import hash_texts

DAY = {"s": 86400.0, "ms": 86400e3, "us": 86400e6, "ns": 86400e9}  # units of a timestamp in a day
DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")  # ISO 8601, without a zone
OTHER = 0x5BD1E995  # changes the seed of a hash for the second half of a key
WHOLE = 2.0**53  # up to here a float holds every whole number


class Words(NamedTuple):
    """Cells of text: the number of a level for each, -1 for a gap."""

    code: NDArray[np.int64]
    levels: list[str]


class NoNumber(ValueError):
    """A text is no number."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(text)
        self.row, self.text = row, text


def numbers(column: Any) -> Vector:
    """Return cells as numbers, NaN for gaps; dates are days since 1970-01-01, true is 1.

    Raises
    ------
    NoNumber
        If a text is no number.
    """
    pa, pc = arrow.load(), arrow.load("pyarrow.compute")
    column, kind = _plain(column)
    types = pa.types
    unit = 1.0
    if types.is_float64(kind) and column.null_count == 0:
        return np.asarray(column.to_numpy())  # without a copy; nobody writes to it
    if types.is_timestamp(kind):
        unit, column = DAY[kind.unit], column.cast(pa.int64())
    elif types.is_date(kind):
        column = column.cast(pa.date32()).cast(pa.int32())
    elif arrow.kind_of(kind, "") == arrow.TEXT:
        return _from_text(column)
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    found = pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
    return np.asarray(found / unit if unit != 1.0 else found, dtype=np.float64)


def words(column: Any, gaps: frozenset[str] = frozenset()) -> Words:
    """Return cells as words without blanks around them; numbers as they are written, whole ones without a point.

    Parameters
    ----------
    column : pyarrow.Array
        The cells.
    gaps : frozenset of str
        Words that mean a gap, besides Arrow's own.
    """
    pa = arrow.load()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _of_numbers(numbers(column))
    code, dictionary = _coded(column)
    texts = [None if text is None else text.strip() for text in dictionary.cast(pa.string()).to_pylist()]
    if None in texts or gaps.intersection(texts):
        lost = np.array([text is None or text in gaps for text in texts] + [True])  # the last is the gaps'
        code = np.where(lost[code], -1, code)
    return Words(np.asarray(code, np.int64), [text or "" for text in texts])


def hashed(column: Any, title: str, bits: int, gaps: frozenset[str] = frozenset()) -> Vector:
    """Return the hash of each cell, below 2^bits, NaN for gaps.

    It is MurmurHash3 of the word, with that of the title as seed, as Vowpal Wabbit hashes words of a namespace.
    """
    pc = arrow.load("pyarrow.compute")
    code, levels, gap = _levels(column, gaps)
    place = np.append(_hashes(pc.fill_null(levels, ""), _hash_of(title)) & np.uint32((1 << bits) - 1), 0)
    return np.where(gap[code], np.nan, place[code].astype(np.float64))


def level_keys(column: Any, title: str, gaps: frozenset[str] = frozenset()) -> NDArray[np.uint64]:
    """Return a key of 64 bits for each level among the cells; its low 32 bits are the hash of `hashed`."""
    pc = arrow.load("pyarrow.compute")
    code, levels, gap = _levels(column, gaps)
    used = np.zeros(len(gap), np.bool_)
    used[code] = True
    texts, seed = pc.fill_null(levels, ""), _hash_of(title)
    low, high = (_hashes(texts, s).astype(np.uint64) for s in (seed, seed ^ OTHER))
    return np.asarray((high << np.uint64(32) | low)[(used & ~gap)[:-1]])


def _levels(column: Any, gaps: frozenset[str]) -> tuple[NDArray[np.int64], Any, NDArray[np.bool_]]:
    """Return the number of each cell's level, -1 for a gap, the levels, and which are gaps, the last that of -1."""
    pa, pc = arrow.load(), arrow.load("pyarrow.compute")
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        coded = _of_numbers(numbers(column))
        code, levels = coded.code, pa.array(coded.levels, pa.string())
    else:
        code, dictionary = _coded(column)
        levels = pc.utf8_trim_whitespace(dictionary.cast(pa.string()))
    gap = pc.fill_null(pc.is_in(levels, value_set=pa.array(sorted(gaps), pa.string())), True)
    gap = np.append(gap.to_numpy(zero_copy_only=False) | levels.is_null().to_numpy(zero_copy_only=False), True)
    return code, levels, gap


def _coded(column: Any) -> tuple[NDArray[np.int64], Any]:
    """Return the number of each cell's level, -1 for a gap, and the levels: not many more than there are cells.

    The dictionary of a Parquet file is that of a row group, which is read in many batches.
    """
    pa, pc = arrow.load(), arrow.load("pyarrow.compute")
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()))
    code = pc.fill_null(column.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    levels = column.dictionary
    if len(levels) <= len(code):
        return code, levels
    used = np.zeros(len(levels) + 1, np.bool_)
    used[code] = True
    number = np.where(used, np.cumsum(used) - 1, -1)
    number[-1] = -1
    return number[code], levels.filter(pa.array(used[:-1]))


def _hashes(texts: Any, seed: int) -> NDArray[np.uint32]:
    _, ends, data = texts.buffers()
    ends = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1] if len(texts) else np.zeros(1)
    found = np.empty(len(texts), np.uint32)
    letters = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    hash_texts(letters, ends, np.uint32(seed), found)
    return found


def _hash_of(title: str) -> int:
    return int(_hashes(arrow.load().array([title]), 0)[0])


def _of_numbers(number: Vector) -> Words:
    known = ~np.isnan(number)
    values, place = np.unique(number[known], return_inverse=True)
    code = np.full(len(number), -1)
    code[known] = place
    return Words(code, [str(int(x)) if x == np.floor(x) and abs(x) <= WHOLE else str(x) for x in values.tolist()])


def _plain(column: Any) -> tuple[Any, Any]:
    """Return cells without a dictionary, and their type."""
    pa = arrow.load()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column, column.type


def _from_text(column: Any) -> Vector:
    """Return cells of text as numbers, or all as dates; NoNumber at the first that does not fit most others."""
    code, levels = words(column, TEXT_GAPS)
    used, wrong = np.isin(np.arange(len(levels)), code), []
    for read in (as_number, as_day):
        values = [read(text) for text in levels]
        wrong.append([place for place, value in enumerate(values) if value is None and used[place]])
        if not wrong[-1]:
            return np.array([np.nan if value is None else value for value in values] + [np.nan])[code]
    first = min(wrong, key=len)[0]
    raise NoNumber(int(np.argmax(code == first)), levels[first])


def as_number(text: str) -> float | None:
    """Return a text as a number, None if it is none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def as_day(text: str) -> float | None:
    """Return a date, with or without a time of day, as days since 1970; None if the text is none."""
    if not DATE.fullmatch(text):
        return None
    try:
        return float(np.datetime64(text.replace(" ", "T"), "us").astype(np.int64)) / DAY["us"]
    except ValueError:  # no day has this number
        return None


# Words that pandas reads as gaps, and the question mark of many public tables.
TEXT_GAPS = frozenset(
    {"", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"}
    | {"NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
