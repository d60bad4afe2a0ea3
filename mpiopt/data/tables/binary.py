"""Tables in Parquet and Arrow (Feather) files: row groups and record batches are shared out among the ranks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.data.tables import arrow
from mpiopt.data.tables.files import refuse_changed, states
from mpiopt.data.tables.table import (
    ROWS,
    Batch,
    Table,
    agreed_kinds,
    agreed_orders,
    refuse_other_columns,
    refuse_twice,
)

INDEX = "__index_level_"  # what pandas calls an index without a title


class Part(NamedTuple):
    """A row group or a record batch."""

    path: str
    number: int  # in its file
    rows: int
    first: int  # row in its file
    start: int  # row in the table


class _BinaryTable(Table):
    """A table in files that have their types with them."""

    def __init__(self, path: str, files: Sequence[str], comm: Comm) -> None:
        self._files = files
        with comm.agree_on_errors():
            self._states = states(files)
            mine = [self._head(file) for file in files[comm.rank :: comm.size]]
        every = allgather_json(comm, mine)
        heads = [every[place % comm.size][place // comm.size] for place in range(len(files))]
        self.orders = agreed_orders(path, [head[2] for head in heads])
        kinds = self._kinds(files, [head[0] for head in heads])
        counts = [(file, number, rows) for file, head in zip(files, heads, strict=True) for number, rows in head[1]]
        starts = [0, *accumulate(rows for _, _, rows in counts)]
        self._parts = list(_mine(_parts(counts), starts[-1], comm))
        nbytes = sum(state.nbytes for state in self._states)
        notes = [
            f"{path}: the column {title!r}, an index of pandas, is left out" for title in kinds if INDEX in title
        ]
        kept = {title: kind for title, kind in kinds.items() if INDEX not in title}
        super().__init__(path, kept, starts[-1], nbytes // comm.size, notes)

    def _head(self, path: str) -> tuple[dict[str, str], list[tuple[int, int]], dict[str, list[str] | None]]:
        """Return what the columns of a file hold, number and rows of its parts, and the orders of its levels."""
        try:
            schema, parts = self._opened(path)
        except (arrow.load().ArrowInvalid, OSError) as error:
            reason = str(error).split(". ")[0]
            raise ValueError(f"{path}: is not a whole {self.form} file: {reason}") from None
        refuse_twice(path, schema.names)
        kinds = {
            name: arrow.kind_of(kind, f"{path}: column {name!r}")
            for name, kind in zip(schema.names, schema.types, strict=True)
        }
        parts = [(number, rows) for number, rows in parts if rows]
        ordered = [name for name, kind in zip(schema.names, schema.types, strict=True) if arrow.has_order(kind)]
        orders: dict[str, list[str] | None] = {}
        if ordered and parts:
            first = next(self._records(Part(path, *parts[0], 0, 0), ordered, []))
            orders = {title: arrow.order_in([first.column(title)]) for title in ordered}
        return kinds, parts, orders

    def _kinds(self, files: Sequence[str], heads: Sequence[Mapping[str, str]]) -> dict[str, str]:
        for file, head in zip(files, heads, strict=True):
            refuse_other_columns(file, list(head), files[0], list(heads[0]))
        found = {}
        for title in heads[0]:
            found[title] = agreed_kinds([head[title] for head in heads])
            if not found[title]:
                at = next(i for i, head in enumerate(heads) if not agreed_kinds([heads[0][title], head[title]]))
                raise ValueError(
                    f"{files[at]}: column {title!r} holds {heads[at][title]}, in {files[0]} {heads[0][title]}; "
                    "write all files with one type"
                )
        return found

    def batches(self, kinds: Mapping[str, str]) -> Iterator[Batch]:
        """Read the columns of this rank's parts."""
        words = [title for title, kind in kinds.items() if kind == arrow.TEXT and self.kinds[title] == arrow.TEXT]
        for part in self._parts:
            done = 0
            for record in self._whole_records(part, list(kinds), words):
                cells = {title: record.column(title) for title in kinds}
                yield Batch(cells, record.num_rows, part.start + done, part.path, part.first + done)
                done += record.num_rows
        refuse_changed(self._files, self._states)

    def _whole_records(self, part: Part, titles: list[str], words: list[str]) -> Iterator[Any]:
        """Yield the record batches of a part; ValueError with the file's name where they are damaged."""
        try:
            yield from self._records(part, titles, words)
        except (arrow.load().ArrowInvalid, OSError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{part.path}: is not a whole {self.form} file: {reason}") from None

    @abstractmethod
    def _opened(self, path: str) -> tuple[Any, list[tuple[int, int]]]:
        """Return the schema of a file, and number and rows of its parts."""

    @abstractmethod
    def _records(self, part: Part, titles: list[str], words: list[str]) -> Iterator[Any]:
        """Yield the record batches of a part, at most ROWS rows each; `words` are the columns of text."""


def _parts(counts: Sequence[tuple[str, int, int]]) -> Iterator[Part]:
    start = first = 0
    before = ""
    for path, number, rows in counts:
        first = first if path == before else 0
        yield Part(path, number, rows, first, start)
        start, first, before = start + rows, first + rows, path


def _mine(parts: Iterator[Part], total: int, comm: Comm) -> Iterator[Part]:
    """Yield the parts of this rank: those whose middle lies in its share of the rows."""
    for part in parts:
        middle = part.start + part.rows // 2
        if middle * comm.size // max(total, 1) == comm.rank:
            yield part


class ParquetTable(_BinaryTable):
    """A table in Parquet files."""

    form = "parquet"

    def _opened(self, path: str) -> tuple[Any, list[tuple[int, int]]]:
        with arrow.load("pyarrow.parquet").ParquetFile(path) as file:
            groups = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
            return file.schema_arrow, list(enumerate(groups))

    def _records(self, part: Part, titles: list[str], words: list[str]) -> Iterator[Any]:
        parquet = arrow.load("pyarrow.parquet")
        with parquet.ParquetFile(part.path, read_dictionary=words) as file:
            yield from file.iter_batches(ROWS, row_groups=[part.number], columns=titles, use_threads=False)


class ArrowTable(_BinaryTable):
    """A table in Arrow files, which are Feather files of version 2."""

    form = "arrow"

    def _opened(self, path: str) -> tuple[Any, list[tuple[int, int]]]:
        pa = arrow.load()
        with pa.memory_map(path) as memory:
            options = pa.ipc.IpcReadOptions(included_fields=[0], use_threads=False)
            schema = pa.ipc.open_file(memory).schema
            file = pa.ipc.open_file(memory, options=options)
            return schema, [(b, file.get_batch(b).num_rows) for b in range(file.num_record_batches)]

    def _records(self, part: Part, titles: list[str], words: list[str]) -> Iterator[Any]:
        pa = arrow.load()
        with pa.memory_map(part.path) as memory:
            schema = pa.ipc.open_file(memory).schema
            fields = sorted(schema.get_field_index(title) for title in titles)
            options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
            whole = pa.ipc.open_file(memory, options=options).get_batch(part.number)
            whole.validate(full=True)  # offsets that point nowhere would end the process
            for start in range(0, part.rows, ROWS):
                yield whole.slice(start, ROWS)
