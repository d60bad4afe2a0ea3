"""Tables of numbers as text: one row a line, separated by commas, semicolons, tabs or blanks, plain, gz or bz2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width
from mpiopt.data.formats.columns import Columns, choose
from mpiopt.data.formats.compressed_stream import unpacked
from mpiopt.data.formats.text_blocks import Block, Text, decide, place
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
        """Tell by the suffix before .gz or .bz2."""
        return path.lower().removesuffix(".gz").removesuffix(".bz2").endswith(self.suffixes)

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the first line, then count the rows, each rank in its part."""
        with comm.agree_on_errors():
            skip, lines, separator, columns, count = self._first_line(path, features)
        text = Text(path, comm, skip, lines)
        return _Source(
            text.rows, columns.features, False, columns.names, text.nbytes, text, ord(separator), columns, count
        )

    def _first_line(self, path: str, features: int | None) -> tuple[int, int, str, Columns, int]:
        """Give the bytes and lines to skip, the separator, the columns and their number."""
        skip = lines = 0
        with unpacked(path) as stream:
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
        columns = choose(path, len(fields), fields if titled else None, self.label, self.weight)
        check_width(path, columns.features, features)
        return skip + len(line) * titled, lines + titled, separator, columns, len(fields)

    def _separator(self, line: str) -> str:
        if self.separator != "auto":
            return SEPARATORS[self.separator]
        return next((s for s in ("\t", ";", ",") if s in line.strip()), " " if " " in line.strip() else ",")


def _is_name(field: str) -> bool:
    """Say whether a field of the first line is a title: words are, but not the words for no number."""
    try:
        float(field)
    except ValueError:
        return field.strip().lower() not in ("", "na", "null", "none", "?", "-")
    return False


@dataclass(eq=False)
class _Source(Source):
    text: Text
    separator: int
    columns: Columns
    count: int

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        for block in self.text.blocks(nbytes):
            yield self._parse(block)

    def _parse(self, block: Block) -> RawRows:
        values = np.empty((block.rows, self.count))
        slow, fault = np.empty((len(block.text) // 20 + 1, 3), np.int64), np.zeros(2, np.int64)
        hard = text_parse.parse_csv(block.text, self.separator, values, slow, fault)
        if fault[0]:
            raise ValueError(self._explain(block, int(fault[0]), int(fault[1])))
        for slot, value in decide(block, slow[:hard]):
            values.flat[slot] = value
        return self.columns.split(values, block.row)

    def _explain(self, block: Block, code: int, at: int) -> str:
        where, found = place(self.text.path, block, at, chr(self.separator))
        allowed = {
            text_parse.VALUE: "a field must be a finite decimal number",
            text_parse.FIELDS: f"every row must have {self.count} fields, as the first has",
            text_parse.RANGE: "the number is too large for float64",
        }[code]
        return f"{where}: found {found}; {allowed}"
