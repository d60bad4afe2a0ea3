"""Open a table to train on, or to apply a model to: the rows come encoded, as those of any other source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.core.config.job import DataOptions
from mpiopt.core.files import refuse_unreadable
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, parse_options
from mpiopt.data.formats.csv import Csv
from mpiopt.data.offsets import GIVEN
from mpiopt.data.schema import Schema
from mpiopt.data.tables import arrow
from mpiopt.data.tables.binary import ArrowTable, ParquetTable
from mpiopt.data.tables.column import EXPOSURE, FEATURE, OFFSET, TARGET, Column, from_tree, to_tree
from mpiopt.data.tables.columns import listed, plan_columns, refuse_unknown
from mpiopt.data.tables.csv_table import CsvTable
from mpiopt.data.tables.encode import Encoder
from mpiopt.data.tables.files import BINARY, TEXTS, TableFiles, plain_suffix, table_of
from mpiopt.data.tables.report import column_lines, fit_lines, names_of_rows
from mpiopt.data.tables.survey import Survey, batches_kept, survey
from mpiopt.data.tables.table import Table

OF_WORDS = ("auto", "binary", "multiclass")  # targets of losses for classes
NO_OFFSET = "needs a loss with one output, named by loss: to all classes of softmax it would add the same"
NO_EXPOSURE = "needs a loss with a logarithmic link: poisson, gamma, tweedie, negative-binomial"


@dataclass(eq=False)
class TableSource(Source):
    """A table whose rows are encoded while they are read."""

    table: Table
    survey: Survey
    encoder: Encoder

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        """Read this rank's rows; batches are the same in every pass, whatever `nbytes`."""
        for _, cells, start in batches_kept(self.table, self.encoder.columns, self.survey.starts):
            try:
                yield self.encoder.rows(cells, start)
            except ValueError as fault:
                raise ValueError(f"{self.path}, {fault}") from None


def open_files(files: TableFiles, form: str, titles: Sequence[str], comm: Comm) -> Table:
    """Open the files of a table; collective.

    Parameters
    ----------
    files : TableFiles
        The files.
    form : str
        parquet, arrow, or csv with options; auto: by the suffixes.
    titles : sequence of str
        Titles of the columns of a text without them.
    comm : Comm
        The ranks that share the rows.

    Raises
    ------
    ValueError
        On all ranks: files that do not fit together, and columns that cannot be used.
    """
    path, paths = files
    with comm.agree_on_errors():
        for file in paths:
            refuse_unreadable(file)
        name, _, text = form.partition(":")
        name = _form_of(paths) if name == "auto" else name
        reader = Csv()
        if name == "csv":
            made = Reader.make("csv", parse_options(Reader, "csv", text))
            reader = made if isinstance(made, Csv) else reader
        elif name not in BINARY:
            raise ValueError(f"{path}: tables of columns are read from csv, parquet and arrow, not from {name}")
        arrow.load("pyarrow.csv")
    if name == "parquet":
        return ParquetTable(path, paths, comm)
    if name == "arrow":
        return ArrowTable(path, paths, comm)
    return CsvTable(path, paths, reader, titles, comm)


def _form_of(files: Sequence[str], usual: str = "") -> str:
    """Return the form that the suffixes of files tell, or the usual one; ValueError if they differ or tell none."""
    found = {}
    for file in files:
        suffix = plain_suffix(file)
        form = next((name for name, suffixes in BINARY.items() if suffix in suffixes), "")
        found[form or ("csv" if suffix in TEXTS else _magic(file) or usual)] = file
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise ValueError(f"{one} and {other} are of different formats; a table has one")
    form = next(iter(found))
    if not form:
        raise ValueError(
            f"{files[0]}: its name is not that of a table: set --format to csv, parquet or arrow, or leave out "
            "--target, --drop and the like"
        )
    return form


def _magic(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(8)
    return {b"PAR1": "parquet", b"ARRO": "arrow"}.get(head[:4], "")


def open_table(files: TableFiles, options: DataOptions, target: str, link: str, comm: Comm) -> Source:
    """Open a table to train on: one pass for its types and rows, one for its levels and gaps; collective.

    Parameters
    ----------
    files : TableFiles
        The files.
    options : DataOptions
        Format and columns.
    target : str
        The kind of labels that the loss takes, or "auto".
    link : str
        How the loss takes an offset: "log", "identity", "margin", "given" (no loss is known), or "" for not at all.
    comm : Comm
        The ranks that share the rows.
    """
    path = files.name
    if re.match(r"csv:(.*,)?(label|weight)=", options.format):
        raise ValueError(f"{path}: csv:label and csv:weight are for tables of numbers; use --target, --weights")
    if options.features is not None:
        raise ValueError(f"{path}: --features is not for tables, whose features are counted; leave it out")
    table = open_files(files, options.format, options.columns.titles, comm)
    if table.total == 0:
        raise ValueError(f"{path}: has no rows")
    with comm.agree_on_errors():
        planned = plan_columns(table, options.columns)
        refuse_offsets(path, planned, link)
    known = survey(table, planned, options.columns.max_levels, comm)
    with comm.agree_on_errors():
        _refuse_target(path, known.columns, target)
    source = _source(table, known, Encoder(known.columns, link), options.columns, options.format)
    used = {column.title for column in known.columns}
    left_out = [
        f"{title} (gaps alone)" if kind == arrow.EMPTY else title
        for title, kind in table.kinds.items()
        if title not in used
    ]
    source.notes += (
        *([f"{path}: {known.dropped} rows with gaps are left out"] if known.dropped else []),
        *([f"columns left out: {listed(left_out)}"] if left_out else []),
        *names_of_rows(known.columns, table.total),
        column_lines(known.columns),
    )
    return source


def open_table_like(path: str, form: str, schema: Schema, comm: Comm) -> Source:
    """Open a table to which a model is applied; its columns may be in any order, and in any format; collective.

    Raises
    ------
    ValueError
        On all ranks: a column is missing, has another type, or has gaps or levels that the model refuses.
    """
    trained = from_tree(schema.table["columns"])
    with comm.agree_on_errors():
        files = table_of(path)
        trained_form = schema.format if schema.format in (*BINARY, "csv") else ""  # not of a converted table
        if form == "auto":
            form = _form_of(files.paths, trained_form)
            options = schema.options if form == trained_form == "csv" else {}
            form += ":" + ",".join(f"{key}={value}" for key, value in options.items()) if options else ""
    table = open_files(files, form, schema.table["titles"], comm)
    with comm.agree_on_errors():
        wanted = refuse_other_columns_than(table, trained)
    applied = [replace(column, gaps=column.gaps if column.role == FEATURE else "level") for column in wanted]
    notes = fit_lines(table, applied, comm)
    encoder = Encoder(applied, str(schema.table["link"]))
    lacking = [c.title for c in trained if c.role in (OFFSET, EXPOSURE) and c.title not in table.kinds]
    if lacking:
        notes.append(f"{path}: there is no column {', '.join(lacking)}; predictions are for an exposure of 1")
    known = Survey(tuple(applied), table.total, _Identity(), 0)
    source = _source(table, known, encoder, ColumnOptions(), form)
    source.notes += tuple(notes)
    return source


class _Identity(dict[int, int]):
    """The starts of batches of which no row is left out."""

    def __missing__(self, start: int) -> int:
        return start


def _source(table: Table, known: Survey, encoder: Encoder, options: ColumnOptions, form: str) -> TableSource:
    text = form.partition(":")[2] if table.form == "csv" else ""
    stated = parse_options(Reader, "csv", text)
    schema = Schema(table.form, {key: str(value) for key, value in stated.items()})
    tree = {"columns": to_tree(encoder.columns), "titles": list(options.titles), "link": encoder.link}
    return TableSource(
        table.path,
        known.total,
        encoder.features,
        encoder.sparse,
        encoder.names,
        table.nbytes,
        table,
        known,
        encoder,
        schema=replace(schema, table=tree),
        notes=table.notes,
        offsets_stay=encoder.offsets_stay,
    )


def refuse_offsets(path: str, columns: Sequence[Column], link: str) -> None:
    """Raise ValueError if columns are offsets or exposures that a loss with this link does not take."""
    for column in columns:
        if column.role == OFFSET and not link:
            raise ValueError(f"{path}: --offset {NO_OFFSET}")
        if column.role == EXPOSURE and not takes_exposure(link):
            raise ValueError(f"{path}: --exposure {NO_EXPOSURE}; --weights weight the rows")


def takes_exposure(link: str) -> bool:
    """Return whether a loss that takes offsets in this way has a logarithmic link."""
    return link.startswith("log") or link.endswith(":log") or link == GIVEN


def _refuse_target(path: str, columns: Sequence[Column], target: str) -> None:
    for column in columns:
        if column.role == TARGET and column.kind == arrow.TEXT and target not in OF_WORDS:
            words = ", ".join(column.levels[:3])
            raise ValueError(f"{path}: --target {column.title} holds words ({words}, …); this loss needs numbers")
        if column.role == TARGET and column.kind == arrow.TEXT and len(column.levels) < 2:
            raise ValueError(
                f"{path}: --target {column.title} is {column.levels[0]!r} in all rows; a classifier needs two classes"
            )


def refuse_other_columns_than(table: Table, trained: Sequence[Column]) -> list[Column]:
    """Return the columns of the model that a table has; ValueError if a feature is missing, or of another type."""
    needed = [column.title for column in trained if column.role == FEATURE]
    refuse_unknown(table.path, needed, table.kinds, "the model needs its columns")
    for column in trained:
        _refuse_other_kind(table.path, column, table.kinds)
    return [column for column in trained if column.title in table.kinds]


def _refuse_other_kind(path: str, column: Column, kinds: Mapping[str, str]) -> None:
    there = kinds.get(column.title, arrow.EMPTY)
    numbers = {arrow.NUMBER, arrow.BOOLEAN}
    as_words = arrow.TEXT in (there, column.kind) or column.kind == arrow.ORDERED
    if there in (arrow.EMPTY, column.kind) or as_words or {there, column.kind} <= numbers:
        return  # words that should be numbers are found, with their place, when they are read
    raise ValueError(f"{path}: column {column.title!r} holds {there}; the model was trained with {column.kind}")


def class_names(schema: Schema | None) -> np.ndarray[tuple[int], np.dtype[np.str_]] | None:
    """Return the classes of a target of words, in the order of their numbers; None for a target of numbers."""
    columns = from_tree(schema.table["columns"]) if schema is not None and schema.table else ()
    target = next((column for column in columns if column.role == TARGET), None)
    return np.array(target.levels) if target is not None and target.kind == arrow.TEXT else None
