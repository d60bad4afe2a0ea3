"""Tables in text, plain or compressed: types are guessed over all rows, as pandas guesses; lines are shared out."""

from __future__ import annotations

import csv as csv_lines
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.data.formats.base import PIECE
from mpiopt.data.formats.csv import Csv
from mpiopt.data.formats.text_blocks import Block, TextFile, number_hint, text_start
from mpiopt.data.formats.titles import is_word
from mpiopt.data.tables import arrow
from mpiopt.data.tables.cells import TEXT_GAPS
from mpiopt.data.tables.csv_numbers import plain_numbers
from mpiopt.data.tables.csv_quotes import fault_of_line, may_be_wrong, patterns
from mpiopt.data.tables.files import refuse_changed, states
from mpiopt.data.tables.table import Batch, Table, agreed_kinds, refuse_other_columns, refuse_twice

GAPS = sorted(TEXT_GAPS) + [f" {gap}" for gap in sorted(TEXT_GAPS)]  # a blank may follow the separator
TRUE, FALSE = (["True", "TRUE", "true"], ["False", "FALSE", "false"])
TRUE, FALSE = TRUE + [f" {word}" for word in TRUE], FALSE + [f" {word}" for word in FALSE]
NEWLINE, HASH, BLANKS = b"\n", b"#", b" \t\r"


@dataclass(frozen=True, eq=False)
class _File:
    """One file of the table."""

    path: str
    titles: list[str]
    separator: str
    text: TextFile
    start: int  # number of its first row in the table


class CsvTable(Table):
    """A table in text files."""

    form = "csv"

    def __init__(self, path: str, files: Sequence[str], reader: Csv, titles: Sequence[str], comm: Comm) -> None:
        self._paths = files
        with comm.agree_on_errors():
            self._states = states(files)
        self._files: list[_File] = []
        self._dates: dict[str, str] = {}
        self._decimal = "."
        start = 0
        for file in files:
            opened = _open(file, reader, titles, comm, start)
            if self._files:
                refuse_other_columns(file, opened.titles, files[0], self._files[0].titles)
            self._files.append(opened)
            start += opened.text.rows
        kinds = self._guess(comm)
        if arrow.TEXT in kinds.values() and all(file.separator != "," for file in self._files):
            kinds = self._with_commas(kinds, comm)
        super().__init__(path, kinds, start, sum(file.text.nbytes for file in self._files), guessed=True)

    def _guess(self, comm: Comm) -> dict[str, str]:
        """Return what each column holds, from all rows; collective."""
        titles = self._files[0].titles
        found: dict[str, set[str]] = {title: set() for title in titles}
        with comm.agree_on_errors():
            for file in self._files:
                alone = self._decimal == "."  # numbers alone, so far
                for block in file.text.blocks(PIECE):
                    if alone and plain_numbers(block, file.separator, len(titles)) is not None:
                        for title in titles:
                            found[title].add(arrow.NUMBER)
                        continue
                    alone = False
                    _refuse_quotes(file, block)
                    for field in _parse(file, block, {}, self._decimal).schema:
                        found[field.name].add(_guessed(field.type, f"{file.path}: column {field.name!r}"))
        every = allgather_json(comm, {title: sorted(kinds) for title, kinds in found.items()})
        kinds = {}
        for title in titles:
            all_kinds = {kind for mine in every for kind in mine[title]}
            dates = sorted(kind for kind in all_kinds if kind.startswith("date "))
            if dates:  # of one type, or of days and times without a zone
                self._dates[title] = dates[-1].removeprefix("date ") if len(dates) == 1 else "timestamp[ns]"
            zones = {("tz=" in kind) for kind in dates}
            plain = {arrow.DATE if kind in dates else kind for kind in all_kinds}
            kinds[title] = (agreed_kinds([*plain]) if len(zones) < 2 else "") or arrow.TEXT
        return kinds

    def _with_commas(self, plain: dict[str, str], comm: Comm) -> dict[str, str]:
        """Return the kinds with decimal commas, if these make numbers of words and spoil no number; collective."""
        dates = self._dates
        self._dates, self._decimal = {}, ","
        found = self._guess(comm)
        gained = [title for title, kind in found.items() if kind == arrow.NUMBER and plain[title] == arrow.TEXT]
        lost = [title for title, kind in found.items() if kind != arrow.NUMBER and plain[title] == arrow.NUMBER]
        if gained and not lost:
            return found
        self._dates, self._decimal = dates, "."
        return plain

    def batches(self, kinds: Mapping[str, str]) -> Iterator[Batch]:
        """Read some columns of this rank's lines."""
        types = {title: self._type(title, kind) for title, kind in kinds.items()}
        for file in self._files:
            plain = self._decimal == "." and all(kind == arrow.NUMBER for kind in kinds.values())
            for block in file.text.blocks(PIECE):
                found = plain_numbers(block, file.separator, len(file.titles)) if plain else None
                plain = found is not None
                if found is not None:
                    yield Batch(
                        _as_arrow(file, found, kinds),
                        block.rows,
                        file.start + block.row,
                        file.path,
                        block.line,
                        "line",
                    )
                    continue
                cells = _parse(file, block, types, self._decimal)
                columns = {title: _one_array(cells.column(title)) for title in kinds}
                rows = cells.num_rows if kinds else block.rows
                yield Batch(columns, rows, file.start + block.row, file.path, block.line, "line")
        refuse_changed(self._paths, self._states)

    def _type(self, title: str, kind: str) -> Any:
        pa = arrow.load()
        if kind == arrow.DATE and title in self._dates:
            zoned = re.fullmatch(r"timestamp\[(\w+), tz=(.*)\]", self._dates[title])
            return pa.timestamp(zoned[1], zoned[2]) if zoned else pa.type_for_alias(self._dates[title])
        return {arrow.NUMBER: pa.float64(), arrow.BOOLEAN: pa.bool_(), arrow.EMPTY: pa.float64()}.get(
            kind, pa.dictionary(pa.int32(), pa.string())
        )


def _open(path: str, reader: Csv, titles: Sequence[str], comm: Comm, start: int) -> _File:
    """Read the line of titles, and count the rows; collective."""
    with comm.agree_on_errors():
        head = reader.head(path, text_start(path))
        fields = [field.strip() for field in head.fields]
        titled = head.first.titled or (
            reader.header == "auto" and any(map(is_word, fields)) and all(is_word(f) or not f for f in fields)
        )
        if titles and reader.header != "yes":
            titled = fields == [*titles]
        if titles and len(titles) != len(fields):
            raise ValueError(f"{path}: has {len(fields)} columns; --titles names {len(titles)}")
        names = [*titles] or (fields if titled else [""] * len(fields))
        names = [name or f"column{place + 1}" for place, name in enumerate(names)]
        refuse_twice(path, names)
        skip = head.skip + head.nbytes * titled
    return _File(path, names, head.separator, TextFile(path, comm, skip, head.lines + titled), start)


def _as_arrow(file: _File, found: NDArray[np.float64], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return columns of numbers as Arrow arrays."""
    pa = arrow.load()
    return {title: pa.array(found[:, file.titles.index(title)]) for title in kinds}


def _guessed(kind: Any, where: str) -> str:
    found = arrow.kind_of(kind, where)
    return f"date {kind}" if found == arrow.DATE else found


def _one_array(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _parse(file: _File, block: Block, types: Mapping[str, Any], decimal: str) -> Any:
    """Return the rows of a block as an Arrow table, of the columns in `types`, all without types.

    Raises
    ------
    ValueError
        At the first cell or line that is wrong, with its place.
    """
    pa, csv = arrow.load(), arrow.load("pyarrow.csv")
    text = _text_of_rows(file, block)
    options = csv.ConvertOptions(
        column_types=types,
        include_columns=list(types),
        null_values=GAPS,
        true_values=TRUE,
        false_values=FALSE,
        strings_can_be_null=True,
        decimal_point=decimal,
    )
    try:
        found = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(column_names=file.titles, use_threads=False, block_size=len(text) + 64),
            parse_options=csv.ParseOptions(delimiter=file.separator),
            convert_options=options,
        )
    except pa.ArrowInvalid as error:
        _explain(file, block, types, decimal, str(error))
    if found.num_rows != block.rows and types != {}:
        raise ValueError(
            f"{file.path}: between line {block.line + 1} and the {block.rows} rows after it, quotes go over the end "
            "of a line; write such a table as Parquet"
        )
    return found


def _rows(file: _File, block: Block) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are rows, with their numbers in the file: not those that are blank or begin with #."""
    lines = block.text.tobytes().split(NEWLINE)[:-1]
    for number, line in enumerate(lines):
        if len(lines) == block.rows or (line.strip(BLANKS) and not line.lstrip(BLANKS).startswith(HASH)):
            yield block.line + number, line
        elif 2 * line.count(file.separator.encode()) >= max(len(file.titles) - 1, 1):
            what = "begins with #, the mark of a comment," if line.strip(BLANKS) else "is blank"
            raise ValueError(
                f"{file.path}, line {block.line + number + 1}: {what} but has the separators of a row; "
                "put its first field in quotes, or delete the line"
            )


def _text_of_rows(file: _File, block: Block) -> bytes:
    if int(np.count_nonzero(block.text == ord(NEWLINE))) == block.rows:
        return block.text.tobytes()
    return b"".join(line + NEWLINE for _, line in _rows(file, block))


def _refuse_quotes(file: _File, block: Block) -> None:
    """Raise ValueError at the first line whose quotes are wrong; other passes over the same file need not look."""
    if not may_be_wrong(_text_of_rows(file, block), file.separator):
        return
    known = patterns(file.separator)
    for number, line in _rows(file, block):
        fault = fault_of_line(line, known)
        if fault:
            raise ValueError(f"{file.path}, line {number + 1}: {fault}")


def _explain(file: _File, block: Block, types: Mapping[str, Any], decimal: str, error: str) -> NoReturn:
    """Raise ValueError with the place and the text of what Arrow refuses."""
    for number, line in _rows(file, block):
        fields = _fields(line.rstrip(b"\r").decode("utf-8", "replace"), file.separator)
        where = f"{file.path}, line {number + 1}"
        if fields is None:
            raise ValueError(f"{where}: the quotes are not closed in this line; write such a table as Parquet")
        if len(fields) != len(file.titles):
            raise ValueError(f"{where}: found {len(fields)} fields, where the table has {len(file.titles)} columns")
        for title, field in zip(file.titles, fields, strict=True):
            wanted = _wanted(field, types.get(title), decimal)
            if wanted:
                raise ValueError(f"{where}, column {title!r}: {describe_word(field, wanted, title)}")
    raise ValueError(f"{file.path}: between line {block.line + 1} and {block.line + block.rows + 1}: {error}")


def describe_word(field: str, wanted: str, title: str) -> str:
    """Return what is wrong with a word in a column of something else, and what to do."""
    return (
        f"found {field.strip()[:40]!r} among {wanted}{number_hint(field)}; "
        f"correct it, or read the column as levels: --categorical {title}"
    )


def _fields(line: str, separator: str) -> list[str] | None:
    """Return the fields of a line; None if its quotes are not closed."""
    if line.count('"') % 2:
        return None
    return next(iter(csv_lines.reader([line], delimiter=separator, skipinitialspace=False)), [])


def _wanted(field: str, kind: Any, decimal: str) -> str:
    """Return what a field should be, if it is not that; else ""."""
    pa = arrow.load()
    if kind is None or field.strip() in TEXT_GAPS or pa.types.is_dictionary(kind):
        return ""
    if decimal == "," and kind == pa.float64():
        field = field.translate(str.maketrans(",.", ".,"))
    try:
        pa.scalar(field.strip()).cast(kind)
    except pa.ArrowInvalid:
        return {pa.float64(): "numbers", pa.bool_(): "the words true and false"}.get(kind, "dates")
    return ""
