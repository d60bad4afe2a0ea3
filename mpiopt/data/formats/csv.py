"""Tables of numbers as text, plain, gz or bz2: a row a line; commas, semicolons, tabs or blanks between numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width
from mpiopt.data.formats.columns import Columns, find_columns
from mpiopt.data.formats.compressed_stream import open_unpacked
from mpiopt.data.formats.text_blocks import Block, TextFile, exact_numbers, locate
from mpiopt.kernels import text_parse

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "blank": " "}


@dataclass(frozen=True)
class Csv(Reader):
    """Numbers in columns; `label` and `weight` are first, last, none, a column's name or its number from 1."""

    name: ClassVar[str] = "csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    lines: ClassVar[bool] = True
    label: str = "last"
    weight: str = "none"
    separator: str = "auto"  # auto | comma | semicolon | tab | blank
    header: str = "auto"  # auto | yes | no

    def __post_init__(self) -> None:
        for key, choices in (("separator", ("auto", *SEPARATORS)), ("header", ("auto", "yes", "no"))):
            if getattr(self, key) not in choices:
                raise ValueError(f"csv: {key} must be one of {', '.join(choices)}; not {getattr(self, key)!r}")

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the suffix, before .gz or .bz2, is the format's."""
        return path.lower().removesuffix(".gz").removesuffix(".bz2").endswith(self.suffixes)

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the first line, then count the rows, each rank in its part."""
        with comm.agree_on_errors():
            table = self._first_line(path, features)
        text = TextFile(path, comm, table.skip, table.lines)
        columns = table.columns
        return _Source(text.rows, columns.features, False, columns.names, text.nbytes, text, table)

    def _first_line(self, path: str, features: int | None) -> _Table:
        """Read separator and columns from the first line that is not a comment."""
        skip = lines = 0
        with open_unpacked(path) as stream:
            line = stream.readline()
            while line and (not line.strip() or line.lstrip().startswith(b"#")):
                skip, lines = skip + len(line), lines + 1
                line = stream.readline()
        if not line:
            raise ValueError(f"{path}: has no rows")
        shown = line.decode("utf-8-sig", "replace").split("#")[0].strip("\r\n")
        separator = self._separator(shown)
        fields = [f.strip().strip('"') for f in (shown.split() if separator == " " else shown.split(separator))]
        titled = self.header == "yes" or (self.header == "auto" and all(map(_is_name, fields)))
        columns = find_columns(path, len(fields), fields if titled else None, self.label, self.weight)
        check_width(path, columns.features, features)
        return _Table(skip + len(line) * titled, lines + titled, ord(separator), columns, len(fields))

    def _separator(self, line: str) -> str:
        if self.separator != "auto":
            return SEPARATORS[self.separator]
        return next((s for s in ("\t", ";", ",") if s in line.strip()), " " if " " in line.strip() else ",")


class _Table(NamedTuple):
    """The form of a table."""

    skip: int  # bytes before the first row
    lines: int  # lines before the first row
    separator: int  # as a byte
    columns: Columns
    fields: int  # in each row


def _is_name(field: str) -> bool:
    """Return whether a field of the first line is a column's name: a word, but not one for a missing number."""
    try:
        float(field)
    except ValueError:
        return field.strip().lower() not in ("", "na", "null", "none", "?", "-")
    return False


@dataclass(eq=False)
class _Source(Source):
    text: TextFile
    table: _Table

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        for block in self.text.blocks(nbytes):
            yield self._parse(block)

    def _parse(self, block: Block) -> RawRows:
        values = np.empty((block.rows, self.table.fields))
        slow, fault = np.empty((len(block.text) // 20 + 1, 3), np.int64), np.zeros(2, np.int64)
        hard = text_parse.parse_csv(block.text, self.table.separator, values, slow, fault)
        if fault[0]:
            raise ValueError(self._explain(block, int(fault[0]), int(fault[1])))
        for slot, value in exact_numbers(block, slow[:hard]):
            values.flat[slot] = value
        return self.table.columns.split(values, block.row)

    def _explain(self, block: Block, code: int, at: int) -> str:
        where, found = locate(self.text.path, block, at, chr(self.table.separator))
        allowed = {
            text_parse.VALUE: "a field must be a finite decimal number",
            text_parse.FIELDS: f"every row must have {self.table.fields} fields, as the first has",
            text_parse.RANGE: "the number is too large for float64",
        }[code]
        return f"{where}: found {found}; {allowed}"
