"""Tables of numbers as text, plain or compressed: a row a line; commas, semicolons, tabs or blanks between."""

from __future__ import annotations

import csv as csv_lines
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width
from mpiopt.data.formats.columns import Columns, columns_like, find_columns
from mpiopt.data.formats.compressed_stream import open_unpacked, without_packing
from mpiopt.data.formats.csv_repairs import QUOTE, QuoteFault, plain, quote_fault, split_fields, without_quoted
from mpiopt.data.formats.text_blocks import (
    SHOWN,
    Block,
    Bytes,
    TextFile,
    exact_numbers,
    locate,
    number_hint,
    text_start,
)
from mpiopt.data.formats.titles import LINES, FirstLine, judge
from mpiopt.data.schema import Schema
from mpiopt.kernels import text_parse

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "blank": " "}
WORDS = "; to train on a table with words or gaps, name the column of the target: --target NAME"
BELOW = 1 << 18  # bytes below the first line that are looked at, roughly


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
        """Return whether the suffix, without that of a compression, is the format's."""
        return without_packing(path.lower()).endswith(self.suffixes)

    def like(self, path: str, schema: Schema, given: Collection[str]) -> Reader:
        """Return a reader with the columns of label and weight where they are in `path`."""
        head = self.head(path, text_start(path))
        titled = head.first.titled or ("header" not in given and {*(schema.names or "?")} <= {*head.fields})
        found = columns_like(path, len(head.fields), head.fields if titled else None, schema, given)
        return replace(self, header="yes" if titled else "no", **found)

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the first line, then count the rows, each rank in its part."""
        with comm.agree_on_errors():
            head = self.head(path, text_start(path))
            names = head.fields if head.first.titled else None
            columns = find_columns(path, len(head.fields), names, self.label, self.weight)
            check_width(path, columns.features, features)
        text = TextFile(path, comm, head.skip + head.nbytes * head.first.titled, head.lines + head.first.titled)
        table = _Table(ord(head.separator), columns, len(head.fields))
        return _Source(
            path,
            text.rows,
            columns.features,
            False,
            columns.names,
            text.nbytes,
            text,
            table,
            schema=Schema(self.name, self.stated(), columns=len(head.fields)).at(**columns.places),
            notes=(f"{path}: {head.first.note}",) if head.first.note else (),
        )

    def head(self, path: str, skip: int) -> Head:
        """Read the first line after `skip` bytes that is not a comment."""
        lines = 0
        with open_unpacked(path) as stream:
            stream.seek(skip)
            line = stream.readline()
            while line and (not line.strip() or line.lstrip().startswith(b"#")):
                skip, lines = skip + len(line), lines + 1
                line = stream.readline()
            below = stream.readlines(BELOW)[:LINES]
        if not line:
            raise ValueError(f"{path}: has no rows")
        shown = _content(line)
        separator = self._separator(without_quoted(shown))
        try:
            fields = split_fields(shown, separator)
        except csv_lines.Error as error:
            raise ValueError(f"{path}, line {lines + 1}: {error}") from None
        rows = [_content(each).split(separator if separator.strip() else None) for each in below]
        first = judge(fields, rows) if self.header == "auto" else FirstLine(self.header == "yes")
        return Head(skip, lines, len(line), separator, fields, first)

    def _separator(self, line: str) -> str:
        if self.separator != "auto":
            return SEPARATORS[self.separator]
        return next((s for s in ("\t", ";", ",") if s in line.strip()), " " if " " in line.strip() else ",")


class Head(NamedTuple):
    """The first line of a table that is not a comment."""

    skip: int  # bytes before it
    lines: int  # lines before it
    nbytes: int  # of the line
    separator: str
    fields: list[str]
    first: FirstLine


class _Table(NamedTuple):
    """The form of a table."""

    separator: int  # as a byte
    columns: Columns
    fields: int  # in each row


def _content(line: bytes) -> str:
    """Return a line as text, without its end and, unless it has quotes, its comment."""
    shown = line.decode("utf-8", "replace").strip("\r\n")
    return shown.split("#")[0] if '"' not in shown else shown


@dataclass(eq=False)
class _Source(Source):
    text: TextFile
    table: _Table

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        for block in self.text.blocks(nbytes):
            yield self._parse(block)

    def _parse(self, block: Block) -> RawRows:
        found = _numbers(block.text, block.rows, self.table)
        if found.code:
            found = self._parse_repaired(block, found)
        for slot, value in exact_numbers(block, found.slow):
            found.values.flat[slot] = value
        return self.table.columns.split(found.values, block.row)

    def _parse_repaired(self, block: Block, first: _Numbers) -> _Numbers:
        """Parse a block in which the fast parser has found the fault `first`, without quotes and last separators."""
        quotes = quote_fault(block.text, self.table.separator)
        if quotes is not None:
            raise ValueError(self._explain_quotes(block, quotes))
        text = plain(block.text, self.table.separator)
        found = _numbers(text, block.rows, self.table) if text_parse.survey(text)[1] == block.rows else first
        if found.code:  # a line that lacks its last field lacks a separator, too, without the one at its end
            raise ValueError(self._explain(block, first if found.at < first.at else found))
        return found

    def _explain_quotes(self, block: Block, fault: QuoteFault) -> str:
        where, _ = locate(self.text.path, block, fault.at)
        found = block.text[fault.at : fault.at + SHOWN].tobytes().split(b"\n")[0].decode("utf-8", "replace")
        if fault.open:
            return f"{where}: found {found[:40].rstrip()}; the quotes are not closed in this line"
        inside = found.split('"')[1][:40]
        return f'{where}: found "{inside}"; a field must be one finite number{number_hint(inside)}'

    def _explain(self, block: Block, fault: _Numbers) -> str:
        at = fault.at
        while at > 0 and block.text[at - 1] == QUOTE:
            at -= 1
        where, found = locate(self.text.path, block, at, chr(self.table.separator))
        allowed = {
            text_parse.VALUE: "a field must be a finite decimal number",
            text_parse.FIELDS: f"every row must have {self.table.fields} fields, as the first has",
            text_parse.RANGE: "the number is too large for float64",
        }[fault.code]
        is_word = fault.code == text_parse.VALUE and any(
            map(str.isalpha, found.replace(r"\r", ""))
        )  # or an empty field
        hint = number_hint(found) or (WORDS if is_word else "")
        return f"{where}: found {found}; {allowed}{hint}"


class _Numbers(NamedTuple):
    """What the parser has found in a block."""

    values: NDArray[np.float64]  # (rows, fields)
    slow: NDArray[np.int64]  # places of numbers with many digits
    code: int  # what is wrong; 0: nothing
    at: int  # byte of the fault


def _numbers(text: Bytes, rows: int, table: _Table) -> _Numbers:
    values = np.empty((rows, table.fields))
    slow, fault = np.empty((len(text) // 20 + 1, 3), np.int64), np.zeros(2, np.int64)
    hard = text_parse.parse_csv(text, table.separator, values, slow, fault)
    return _Numbers(values, slow[:hard], int(fault[0]), int(fault[1]))
