"""What is said of the columns of a table: before training, and where a model is applied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.core.config.columns import BELOW
from mpiopt.data.tables.arrow import DATE, ORDERED, TEXT
from mpiopt.data.tables.cells import Words
from mpiopt.data.tables.column import FEATURE, GAP, RARE, TARGET, Column, interactions
from mpiopt.data.tables.encode import NOWHERE, level_places
from mpiopt.data.tables.survey import gaps_of, read_cells
from mpiopt.data.tables.table import Table

SHOWN = 60  # columns that are listed
FEW_ROWS = 20  # below, many levels mean nothing
NAMED = 5  # levels in a message
SOME = 8  # levels of an order that are listed
DAY = 86400  # seconds
DATE_LENGTH = {"D": 10, "m": 16}  # characters of 2020-12-31T23:59 that are shown, of a day and of a minute
IGNORED = "they count as no level"  # what is said of unseen levels


def column_lines(columns: Sequence[Column]) -> str:
    """Return the table of columns: name, type, how each is encoded, gaps, levels."""
    heads = ("column", "type", "as", "gaps", "levels")
    cells = [(c.title, c.kind, encoded(c), gaps(c), levels(c)) for c in columns]
    cells += [
        (title, "interaction", "product", "", f"{width} features") for title, width in interaction_widths(columns)
    ]
    lines = aligned([heads, *cells[:SHOWN]])
    more = len(cells) - SHOWN
    return "\n".join([*lines, *([f"… and {more} more columns"] if more > 0 else [])])


def interaction_widths(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return name and number of features of each interaction."""
    return [
        (":".join(column.title for column in crossed), math.prod(column.width for column in crossed))
        for crossed in interactions(columns)
    ]


def names_of_rows(columns: Sequence[Column], rows: int) -> list[str]:
    """Return a line for each column of words in which most rows have a level of their own."""
    return [
        f"column {c.title!r} has {len(c.levels)} levels in {rows} rows; if it names or dates the rows, give "
        f"--drop {c.title}, or --numeric {c.title} for dates"
        for c in columns
        if c.role == FEATURE and c.kind == TEXT and rows >= FEW_ROWS and len(c.levels) > rows // 2
    ]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of words as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def encoded(column: Column) -> str:
    """Return in words what becomes of a column."""
    if column.role != FEATURE:
        return column.role
    if column.kind == TEXT:
        return column.encode
    if column.is_spline:
        return column.encode
    if column.kind == ORDERED:
        return f"0 to {len(column.levels) - 1} in order"
    return "days since 1970" if column.kind == DATE else "number"


def gaps(column: Column) -> str:
    """Return the number of gaps of a column, and what fills them."""
    if not column.missing:
        return "0"
    fill = f" -> {number(column, column.fill)}"
    filled = {"mean": fill, "median": fill, "level": f" -> {GAP}"}
    return f"{column.missing}{filled.get(column.gaps, ', rows left out')}"


def number(column: Column, value: float | None) -> str:
    """Return a number of a column in words: a date for the days since 1970 of a column of dates."""
    if value is None or not math.isfinite(value):
        return ""
    if column.kind != DATE:
        return f"{value:.6g}"
    unit = "D" if value == round(value) else "m"
    return str(np.datetime64(0, "s") + np.timedelta64(round(value * DAY), "s"))[: DATE_LENGTH[unit]]


def levels(column: Column) -> str:
    """Return the number of levels of a column, or the range of its numbers."""
    if column.hash_bits:
        many = column.levels_hashed < 0
        found = "too many to count" if many else f"{column.levels_hashed}"
        alone = "" if many else f", {column.levels_shared} not alone"
        return f"{found} in 2^{column.hash_bits} places{alone}"
    if column.kind == ORDERED:
        return f" {BELOW} ".join([*column.levels[:SOME], *(["…", column.levels[-1]] if column.levels[SOME:] else [])])
    if column.kind != TEXT:
        return f"{number(column, column.low)} to {number(column, column.high)}" if column.low is not None else ""
    own = [level for level in column.levels if level not in (RARE, GAP)]
    rare = f", {column.levels_rare} rare" if column.levels_rare else ""
    return f"{len(own) + bool(column.first_level)}{rare}"


def fit_lines(table: Table, columns: Sequence[Column], comm: Comm, only_new: bool = False) -> list[str]:
    """Read a table, and return lines about levels that the model does not know, and about gaps; collective.

    With `only_new`, nothing is said of gaps in columns in which the training had some.

    Raises
    ------
    ValueError
        On all ranks, if the model refuses them.
    """
    unseen: dict[str, dict[str, int]] = {column.title: {} for column in columns}
    missing: dict[str, int] = {column.title: 0 for column in columns}
    with comm.agree_on_errors():
        for batch in table.batches({column.title: column.kind for column in columns}):
            for column in columns:
                cells = read_cells(batch, column, table.guessed)
                missing[column.title] += int(gaps_of(cells).sum())
                if isinstance(cells, Words):
                    _count_unseen(unseen[column.title], column, cells)
    every = allgather_json(comm, [unseen, missing])
    gaps_found = {c.title: sum(one[1][c.title] for one in every) for c in columns}
    return [
        *_unseen_lines(table.path, columns, [one[0] for one in every]),
        *_gap_lines(table.path, columns, gaps_found, only_new),
    ]


def _count_unseen(found: dict[str, int], column: Column, cells: Words) -> None:
    known = {*column.levels, *filter(None, [column.first_level])}  # an empty word may be a level, and new
    if RARE in known and column.unseen == "ignore":
        return  # a level of a few rows and one of none are the same to the model
    counts = np.bincount(cells.code[cells.code >= 0], minlength=len(cells.levels))
    for level, count in zip(cells.levels, counts.tolist(), strict=True):
        if count and level not in known:
            found[level] = found.get(level, 0) + count


def _unseen_lines(path: str, columns: Sequence[Column], every: Sequence[dict[str, dict[str, int]]]) -> list[str]:
    lines = []
    for column in columns:
        levels = sorted({level for one in every for level in one[column.title]})
        if levels:
            rows = sum(sum(one[column.title].values()) for one in every)
            named = ", ".join(map(repr, levels[:NAMED])) + (", …" if len(levels) > NAMED else "")
            kind = "classes" if column.role == TARGET else "levels"
            what = f"{path}: column {column.title!r} has {kind} that the training had not: {named} ({rows} rows)"
            if column.unseen == "refuse":
                raise ValueError(f"{what}; the model refuses them")
            lines.append(f"{what}; {'nothing is measured' if column.role == TARGET else IGNORED}")
    return lines


def _gap_lines(path: str, columns: Sequence[Column], missing: dict[str, int], only_new: bool) -> list[str]:
    refused = {c.title: missing[c.title] for c in columns if missing[c.title] and not _takes_gaps(c)}
    for column in columns:
        if column.role != FEATURE and column.title in refused:
            raise ValueError(
                f"{path}: {column.role}: column {column.title!r} has gaps in {refused[column.title]} rows"
            )
    if refused:
        counts = ", ".join(f"{title} {count}" for title, count in refused.items())
        raise ValueError(
            f"{path}: columns have gaps: {counts}; the model was trained without gaps there: fill them, or train "
            "with --gaps mean or median"
        )
    lines = []
    for column in columns:
        count = missing[column.title] if column.role == FEATURE else 0
        if count and not (only_new and column.missing):
            rows = f"{count} gap{'s' * (count > 1)}"
            lines.append(f"{path}: column {column.title!r} has {rows}; {_filled(column)}")
    return lines


def _takes_gaps(column: Column) -> bool:
    """Return whether the model can say something of a gap: it has a level, or a number to fill in, or ignores it."""
    if column.role == FEATURE and column.gaps == "level":
        counted = column.indicator if column.kind != TEXT or column.hash_bits else GAP in column.levels
        return counted or (column.kind == TEXT and column.unseen == "ignore")
    return column.role == TARGET or column.gaps in ("mean", "median")


def _filled(column: Column) -> str:
    if column.kind != TEXT:
        return f"filled with {number(column, column.fill)}"
    known = column.indicator if column.hash_bits else level_places(column, [])[-1] != NOWHERE
    return f"counted as the level {GAP}" if known else "the training had none, so that they count as no level"
