"""One pass over a table that learns what its encoding needs: gaps, levels, means, medians, rows to leave out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.core.config.columns import BELOW
from mpiopt.data.labels import MAX_CLASSES
from mpiopt.data.shard import Vector
from mpiopt.data.tables.arrow import ORDERED, TEXT
from mpiopt.data.tables.cells import TEXT_GAPS, NoNumber, Words, as_number, hashed, level_keys, numbers, words
from mpiopt.data.tables.column import EXPOSURE, FEATURE, GAP, RARE, TARGET, WEIGHT, Column
from mpiopt.data.tables.columns import refuse_wide_interactions
from mpiopt.data.tables.csv_table import describe_word
from mpiopt.data.tables.exact_sum import ExactSum
from mpiopt.data.tables.hashed_levels import NONE, HashedLevels
from mpiopt.data.tables.quantiles import quantiles
from mpiopt.data.tables.table import Batch, Table

MOSTLY = 0.5  # a column of text with a larger part of numbers is one of numbers with a mistake in it


@dataclass(eq=False)
class Learned:
    """What the rows of this rank, or of all, say of one column."""

    missing: int = 0
    levels: dict[str, int] = field(default_factory=dict)  # and their rows
    more_levels: bool = False  # than are kept
    sums: ExactSum = field(default_factory=ExactSum)
    values: list[Vector] = field(default_factory=list)  # where a median or knots are needed
    low: float = np.inf
    high: float = -np.inf
    hashes: HashedLevels = field(default_factory=HashedLevels)


@dataclass(frozen=True, eq=False)
class Survey:
    """What a table holds: columns that are ready to encode, and the rows that are kept."""

    columns: tuple[Column, ...]
    total: int  # rows that are kept, of all ranks
    starts: Mapping[int, int]  # of this rank's batches: the number of the first row among those kept
    dropped: int  # rows with gaps that are left out


def read_cells(batch: Batch, column: Column, guessed: bool) -> Vector | Words:
    """Return the cells of a column of a batch; ValueError, with the place, at a cell that is not of its kind."""
    cells = batch.cells[column.title]
    gaps = TEXT_GAPS if guessed else frozenset()
    if column.hash_bits:
        return hashed(cells, column.title, column.hash_bits, gaps)
    if column.kind == TEXT:
        return words(cells, gaps)
    if column.kind == ORDERED:
        return _places(batch, column, words(cells, gaps))
    try:
        found = numbers(cells)
    except NoNumber as fault:
        what = describe_word(fault.text, "numbers", column.title)
        raise ValueError(f"{batch.place(fault.row, column.title)}: {what}") from None
    if np.isinf(found).any():
        raise ValueError(f"{batch.place(int(np.argmax(np.isinf(found))), column.title)}: is infinite")
    if column.role == WEIGHT and (found < 0.0).any():
        row = int(np.argmax(found < 0.0))
        raise ValueError(f"{batch.place(row, column.title)}: the weight is {found[row]:g}; it must be at least 0")
    if column.role == EXPOSURE and (found <= 0.0).any():
        row = int(np.argmax(found <= 0.0))
        raise ValueError(f"{batch.place(row, column.title)}: the exposure is {found[row]:g}; it must be above 0")
    return found


def _places(batch: Batch, column: Column, cells: Words) -> Vector:
    """Return the places of words in the order of their column, NaN for gaps; ValueError at a word without one."""
    order = column.order
    place = np.array([order.get(level, -1.0) for level in cells.levels] + [np.nan])[cells.code]
    if (place < 0.0).any():
        row = int(np.argmax(place < 0.0))
        known = f" {BELOW} ".join(column.levels)
        raise ValueError(
            f"{batch.place(row, column.title)}: found {cells.levels[cells.code[row]]!r}, which is none of the levels "
            f"{known}; correct it, or state the order with it"
        )
    return np.asarray(place, np.float64)


def gaps_of(cells: Vector | Words) -> NDArray[np.bool_]:
    """Return where the gaps of a column are."""
    return cells.code < 0 if isinstance(cells, Words) else np.isnan(cells)


def kept_rows(batch: Batch, columns: Sequence[Column], cells: Mapping[str, Vector | Words]) -> NDArray[np.bool_]:
    """Return which rows of a batch have no gap in a column whose gaps leave out the row."""
    kept = np.ones(batch.rows, np.bool_)
    for column in columns:
        if column.gaps == "drop":
            kept &= ~gaps_of(cells[column.title])
    return kept


def survey(table: Table, columns: Sequence[Column], max_levels: int, comm: Comm, refuse_many: bool = True) -> Survey:
    """Read a table once and return its columns with levels and fills; collective.

    Without `refuse_many`, a column with more than `max_levels` levels has the first that were found.

    Raises
    ------
    ValueError
        On all ranks: gaps that are refused, with their number in each column; words among numbers; too many levels.
    """
    found = {column.title: Learned() for column in columns}
    kept: list[tuple[int, int]] = []
    with comm.agree_on_errors():
        for batch in table.batches({column.title: column.kind for column in columns}):
            cells = {column.title: read_cells(batch, column, table.guessed) for column in columns}
            rows = kept_rows(batch, columns, cells)
            kept.append((batch.start, int(rows.sum())))
            for column in columns:
                _learn(found[column.title], column, cells[column.title], rows, max_levels)
                if column.hash_bits:
                    gaps = TEXT_GAPS if table.guessed else frozenset()
                    found[column.title].hashes.add(level_keys(batch.cells[column.title], column.title, gaps))
    _merge(found, columns, comm)
    _refuse_mixed(table, columns, found, comm)
    _refuse_gaps(table.path, columns, found)
    if refuse_many:
        _refuse_levels(table.path, columns, found, max_levels)
    shared = {c.title: found[c.title].hashes.counted(c.hash_bits, comm) for c in columns if c.hash_bits}
    fills, knots = _fills(columns, found, comm), _knots(table.path, columns, found, comm)
    counts = np.concatenate(comm.allgather(np.array(kept, np.int64).reshape(-1, 2)))
    counts = counts[np.argsort(counts[:, 0], kind="stable")]
    before = np.cumsum(counts[:, 1]) - counts[:, 1]
    all_starts = dict(zip(counts[:, 0].tolist(), before.tolist(), strict=True))
    total = int(counts[:, 1].sum())
    if total == 0:
        raise ValueError(f"{table.path}: has no rows" + (" without gaps" if table.total else ""))
    finished = tuple(
        replace(
            _finished(column, found[column.title], fills.get(column.title)),
            knots=knots.get(column.title, ()),
            levels_hashed=shared.get(column.title, NONE).levels,
            levels_shared=shared.get(column.title, NONE).shared,
        )
        for column in columns
    )
    refuse_wide_interactions(table.path, finished)
    return Survey(
        finished,
        total,
        {start: all_starts[start] for start, _ in kept},
        table.total - total,
    )


def _learn(known: Learned, column: Column, cells: Vector | Words, rows: NDArray[np.bool_], max_levels: int) -> None:
    missing = gaps_of(cells)
    known.missing += int(missing.sum())
    if column.hash_bits:
        return
    if isinstance(cells, Words):
        counts = np.bincount(cells.code[rows & ~missing], minlength=len(cells.levels))
        for level, count in zip(cells.levels, counts.tolist(), strict=True):
            if count and (level in known.levels or len(known.levels) <= _most(column, max_levels)):
                known.levels[level] = known.levels.get(level, 0) + count
            known.more_levels |= bool(count) and level not in known.levels
        return
    value = cells[rows & ~missing]
    if column.gaps == "mean":
        known.sums.add(value)
    if column.gaps == "median" or column.is_spline:
        known.values.append(value)
    known.low = min(known.low, float(value.min(initial=np.inf)))
    known.high = max(known.high, float(value.max(initial=-np.inf)))


def _most(column: Column, max_levels: int) -> int:
    return MAX_CLASSES if column.role == TARGET else max_levels


def _merge(found: dict[str, Learned], columns: Sequence[Column], comm: Comm) -> None:
    """Give all ranks the gaps, levels and ranges of all; collective."""
    mine = {t: [k.missing, k.levels, k.more_levels, k.low, k.high] for t, k in found.items()}
    every = allgather_json(comm, mine)
    for column in columns:
        parts = [one[column.title] for one in every]
        levels: dict[str, int] = {}
        for part in parts:
            for level, count in part[1].items():
                levels[level] = levels.get(level, 0) + count
        known = found[column.title]
        known.missing, known.levels = sum(part[0] for part in parts), levels
        known.more_levels = any(part[2] for part in parts)
        known.low, known.high = min(part[3] for part in parts), max(part[4] for part in parts)


def _refuse_mixed(table: Table, columns: Sequence[Column], found: Mapping[str, Learned], comm: Comm) -> None:
    """Raise ValueError at a word in a guessed column that holds mostly numbers; collective."""
    for column in columns:
        levels = found[column.title].levels
        if not table.guessed or column.kind != TEXT or column.stated or not levels:
            continue
        number = sum(count for level, count in levels.items() if as_number(level) is not None)
        if MOSTLY * sum(levels.values()) < number < sum(levels.values()):
            raise ValueError(_first_word(table, column, comm))


def _first_word(table: Table, column: Column, comm: Comm) -> str:
    """Return the place of the first word in a column of numbers; collective."""
    with comm.agree_on_errors():
        mine = _first_word_here(table, column)
    every = sorted((where, text) for where, text in allgather_json(comm, mine) if where >= 0)
    return str(every[0][1]) if every else f"{table.path}: the file has changed while it was read"


def _first_word_here(table: Table, column: Column) -> tuple[int, str]:
    """Return number and place of the first row of this rank with a word in the column; -1 without one."""
    for batch in table.batches({column.title: TEXT}):
        cells = words(batch.cells[column.title], TEXT_GAPS)
        is_word = np.array([as_number(level) is None for level in cells.levels] + [False])
        at = np.flatnonzero(is_word[cells.code])
        if len(at):
            level = cells.levels[cells.code[at[0]]]
            place = batch.place(int(at[0]), column.title)
            return batch.start + int(at[0]), f"{place}: {describe_word(level, 'numbers', column.title)}"
    return -1, ""


def _refuse_gaps(path: str, columns: Sequence[Column], found: Mapping[str, Learned]) -> None:
    refused = {c.title: found[c.title].missing for c in columns if c.gaps == "refuse" and found[c.title].missing}
    for column in columns:
        if column.role != FEATURE and column.title in refused:
            count = refused[column.title]
            raise ValueError(
                f"{path}: --{column.role} {column.title} has {count} gap{'s' * (count > 1)}; "
                f"leave out these rows with --gaps {column.title}=drop"
            )
    if refused:
        counts = ", ".join(f"{title} {count}" for title, count in refused.items())
        raise ValueError(f"{path}: columns have gaps: {counts}; choose --gaps level, drop, mean or median")


def _refuse_levels(path: str, columns: Sequence[Column], found: Mapping[str, Learned], max_levels: int) -> None:
    for column in columns:
        known, most = found[column.title], _most(column, max_levels)
        if known.more_levels or len(known.levels) > most:
            if column.role == TARGET:
                raise ValueError(f"{path}: --target {column.title} has more than {most} classes")
            raise ValueError(
                f"{path}: column {column.title!r} has more than {most} levels; leave it out (--drop {column.title}), "
                f"hash it (--encode {column.title}=hash), or set --max-levels"
            )


def _fills(columns: Sequence[Column], found: Mapping[str, Learned], comm: Comm) -> dict[str, float]:
    """Return means and medians of the columns that need them; collective."""
    fills: dict[str, float] = {}
    for column in columns:
        if column.gaps == "mean" and column.kind != TEXT:
            count = int(comm.sum(np.array([found[column.title].sums.count]))[0])
            fills[column.title] = float(found[column.title].sums.over_ranks(comm) / max(count, 1))
    medians = [column.title for column in columns if column.gaps == "median" and column.kind != TEXT]
    if medians:
        parts = [np.concatenate([np.empty(0), *found[title].values]) for title in medians]
        fills |= dict(zip(medians, quantiles(parts, [0.5], comm)[:, 0].tolist(), strict=True))
    return {title: value if value == value else 0.0 for title, value in fills.items()}


def _knots(
    path: str, columns: Sequence[Column], found: Mapping[str, Learned], comm: Comm
) -> dict[str, tuple[float, ...]]:
    """Return the knots of splines, at quantiles with equal numbers of rows between; collective."""
    knots: dict[str, tuple[float, ...]] = {}
    for column in columns:
        if not column.is_spline:
            continue
        at = np.linspace(0.0, 1.0, int(str(column.spec.options["knots"])))
        mine = np.concatenate([np.empty(0), *found[column.title].values])
        places = np.unique(quantiles([mine], at.tolist(), comm)[0])
        if not len(places) > 1:
            count = "one value" if len(places) else "no value"
            raise ValueError(f"{path}: column {column.title!r} has {count}; a spline needs two")
        knots[column.title] = tuple(places.tolist())
    return knots


def _finished(column: Column, known: Learned, fill: float | None) -> Column:
    low, high = (x if np.isfinite(x) else None for x in (known.low, known.high))
    column = replace(column, missing=known.missing, low=low, high=high)
    if column.kind != TEXT:
        fills = column.gaps in ("mean", "median", "level") and known.missing > 0
        return replace(column, fill=fill or 0.0, indicator=fills)
    if column.hash_bits:
        return replace(column, indicator=column.gaps == "level" and known.missing > 0)
    every = level_order(known.levels)
    if column.role == TARGET:
        return replace(column, levels=tuple(every))
    options = column.spec.options
    least = int(str(options["least"]))
    usual = [level for level in every if known.levels[level] >= least]
    first = usual[0] if options["drop"] == "first" and usual else ""
    levels = usual[1:] if first else usual
    rare = len(every) - len(usual)
    levels += [RARE] * (rare > 0) + [GAP] * (column.gaps == "level" and known.missing > 0)
    return replace(column, levels=tuple(levels), first_level=first, levels_rare=rare)


def level_order(levels: Mapping[str, Any]) -> list[str]:
    """Return levels in their order: as numbers if all are, else as text."""
    values = {level: as_number(level) for level in levels}
    if all(value is not None and value == value for value in values.values()):
        return sorted(levels, key=lambda level: (values[level], level))
    return sorted(levels)


def batches_kept(
    table: Table, columns: Sequence[Column], starts: Mapping[int, int]
) -> Iterator[tuple[Batch, dict[str, Vector | Words], int]]:
    """Yield this rank's batches with the cells of the rows that are kept, and the number of the first of them."""
    for batch in table.batches({column.title: column.kind for column in columns}):
        cells = {column.title: read_cells(batch, column, table.guessed) for column in columns}
        rows = kept_rows(batch, columns, cells)
        if not rows.all():
            cells = {title: _chosen(found, rows) for title, found in cells.items()}
        if rows.any():
            yield batch, cells, starts[batch.start]


def _chosen(cells: Vector | Words, rows: NDArray[np.bool_]) -> Vector | Words:
    return Words(cells.code[rows], cells.levels) if isinstance(cells, Words) else cells[rows]
