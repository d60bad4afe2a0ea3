"""`mpiopt describe DATA`: what the columns of a table hold, without training, on all ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.data.row_checks import DENSE, DENSE_SHORT, SHORT
from mpiopt.data.row_formats import padded_width
from mpiopt.data.shard import Vector
from mpiopt.data.tables.arrow import DATE, EMPTY, TEXT
from mpiopt.data.tables.cells import Words
from mpiopt.data.tables.column import FEATURE, Column, interactions
from mpiopt.data.tables.columns import columns_of, listed
from mpiopt.data.tables.exact_sum import ExactSum
from mpiopt.data.tables.files import table_of
from mpiopt.data.tables.quantiles import quantiles
from mpiopt.data.tables.report import aligned, encoded, gaps, interaction_widths, levels, names_of_rows, number
from mpiopt.data.tables.source import open_files
from mpiopt.data.tables.survey import gaps_of, read_cells, survey
from mpiopt.data.tables.table import Table

AT = (0.05, 0.5, 0.95)  # quantiles that are shown
ENTRY, POINTER, VALUE = 12, 8, 8  # bytes of a stored entry, of a sparse row, of a number of a dense row
NUMBERS = ("mean", "spread", "5 %", "50 %", "95 %")


class Moments(NamedTuple):
    """Mean, standard deviation and quantiles of a column of numbers."""

    mean: float
    spread: float
    at: Vector


@dataclass(frozen=True)
class RowsMemory:
    """The memory of the encoded rows."""

    form: str  # "dense" or "sparse"
    features: int
    nbytes: float  # of all ranks


def describe(path: str, form: str, options: ColumnOptions, comm: Comm) -> str:
    """Return the table of columns, with the memory that the rows take in training; collective.

    Raises
    ------
    ValueError
        As in training, but a target is not needed, and gaps and many levels are described, not refused.
    """
    with comm.agree_on_errors():
        files = table_of(path)
    table = open_files(files, form, options.titles, comm)
    with comm.agree_on_errors():
        asked = columns_of(table, options)
        planned = [_lenient(column) for column in asked]
    known = survey(table, planned, options.max_levels, comm, refuse_many=False)
    columns = [replace(column, gaps=now.gaps) for column, now in zip(known.columns, planned, strict=True)]
    numbers = [column for column in columns if column.kind != TEXT]
    values = _values(table, numbers, comm)
    moments = _moments([values[column.title] for column in numbers], comm)
    found = dict(zip((column.title for column in numbers), moments, strict=True))
    heads = ("column", "type", "as", "gaps", "levels, range", *NUMBERS)
    rows = [
        [c.title, c.kind, encoded(c), gaps(c), _levels(c, options.max_levels), *_shown(c, found.get(c.title))]
        for c in columns
    ]
    rows += [
        [title, "interaction", "product", "", f"{width} features", *[""] * len(NUMBERS)]
        for title, width in interaction_widths(columns)
    ]
    used = {column.title for column in columns}
    empty = [
        f"{title} (gaps alone)" if kind == EMPTY else title
        for title, kind in table.kinds.items()
        if title not in used
    ]
    memory = rows_memory(columns, table.total)
    lines = [
        f"{path}: {table.total} rows, {len(table.kinds)} columns",
        *([f"columns left out: {listed(empty)}"] if empty else []),
        *aligned([heads, *rows]),
        f"encoded: {memory.features} features, {memory.form}; rows take {memory.nbytes / 1e6:.3g} MB in training",
        *names_of_rows(columns, table.total),
        *_gaps_to_decide(columns, asked),
    ]
    return "\n".join(lines)


def _gaps_to_decide(columns: Sequence[Column], asked: Sequence[Column]) -> list[str]:
    """Return a line that says of which columns training wants to know what to do with gaps."""
    open_ones = [c.title for c, before in zip(columns, asked, strict=True) if c.missing and before.gaps == "refuse"]
    return [f"gaps in {listed(open_ones)}: train needs --gaps level, drop, mean or median"] if open_ones else []


def _lenient(column: Column) -> Column:
    return replace(column, gaps="level", stated=True)


def _values(table: Table, columns: Sequence[Column], comm: Comm) -> Mapping[str, Vector]:
    """Return this rank's numbers of each column, without gaps; collective."""
    found: dict[str, list[Vector]] = {column.title: [np.empty(0)] for column in columns}
    with comm.agree_on_errors():
        for batch in table.batches({column.title: column.kind for column in columns}):
            for column in columns:
                cells = read_cells(batch, column, table.guessed)
                if not isinstance(cells, Words):
                    found[column.title].append(cells[~gaps_of(cells)])
    return {title: np.concatenate(parts) for title, parts in found.items()}


def _moments(values: Sequence[Vector], comm: Comm) -> list[Moments]:
    """Return the moments of columns, the same bits on any number of ranks; collective."""
    at = quantiles(values, AT, comm) if values else np.empty((0, len(AT)))
    found = []
    for column, quantile in zip(values, at, strict=True):
        count = max(1, int(comm.sum(np.array([len(column)]))[0]))
        mean = _sum(column, comm) / count
        found.append(Moments(mean, float(np.sqrt(_sum((column - mean) ** 2, comm) / count)), quantile))
    return found


def _sum(values: Vector, comm: Comm) -> float:
    total = ExactSum()
    total.add(values)
    return float(total.over_ranks(comm))


def _levels(column: Column, most: int) -> str:
    return f"more than {most}" if len(column.levels) > most else levels(column)


def _shown(column: Column, moments: Moments | None) -> list[str]:
    if moments is None or not np.isfinite(moments.at).all():
        return [""] * len(NUMBERS)
    if column.kind == DATE:
        return [
            number(column, round(moments.mean)),
            f"{moments.spread:.5g} days",
            *(number(column, round(at)) for at in moments.at),
        ]
    return [f"{value:.5g}" for value in (moments.mean, moments.spread, *moments.at)]


def rows_memory(columns: Sequence[Column], rows: int) -> RowsMemory:
    """Return the memory of `rows` encoded rows, of which each has as many entries as it can have, at most."""
    features = [column for column in columns if column.role == FEATURE]
    crossed = interactions(features)
    width = sum(column.width for column in features) + sum(prod(c.width for c in part) for part in crossed)
    stored = sum(column.entries for column in features) + sum(prod(c.entries for c in part) for part in crossed)
    entries = float(rows * stored)
    dense = entries >= (DENSE_SHORT if width <= SHORT else DENSE) * width * rows
    nbytes = float(rows) * padded_width(width + 1) * VALUE if dense else entries * ENTRY + rows * POINTER
    return RowsMemory("dense" if dense else "sparse", width, nbytes)
