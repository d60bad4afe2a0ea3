"""Encode rows of a table as features: numbers, and ones at the places of levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.formats.base import RawRows
from mpiopt.data.offsets import without_offset
from mpiopt.data.shard import CsrRows, Vector
from mpiopt.data.tables.arrow import TEXT
from mpiopt.data.tables.cells import Words
from mpiopt.data.tables.columns import EXPOSURE, FEATURE, GAP, OFFSET, RARE, TARGET, WEIGHT, Column

UNKNOWN_CLASS = -1.0  # the number of a class that the training had not
NOWHERE = -1  # no feature


@dataclass(eq=False)
class Entries:
    """The features of one column: at most two entries for each row, NOWHERE where there is none."""

    places: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[Vector] = field(default_factory=list)

    def add(self, places: NDArray[np.int64], values: Vector) -> None:
        """Add an entry for each row."""
        self.places.append(places)
        self.values.append(values)


@dataclass(frozen=True)
class Encoder:
    """What turns cells into rows.

    Parameters
    ----------
    columns : sequence of Column
        Features, target, weights, offset, exposure.
    link : str
        How the loss takes an offset: "log" as a factor e of the expected target, which multiplies the weight as well,
        "log:q" with e^q for the weight; "identity" as a shift of the target; "" not at all.
    """

    columns: Sequence[Column]
    link: str = ""

    @property
    def features(self) -> int:
        """Number of features."""
        return sum(column.width for column in self.columns)

    @property
    def names(self) -> list[str]:
        """The names of the features."""
        return [name for column in self.columns for name in column.feature_names]

    @property
    def sparse(self) -> bool:
        """Whether rows are sparse: a column has levels."""
        return any(column.kind == TEXT and column.role == FEATURE for column in self.columns)

    def rows(self, cells: Mapping[str, Vector | Words], start: int) -> RawRows:
        """Return the rows of a batch; `cells` has each column by its title, `start` is the number of the first.

        Raises
        ------
        ValueError
            If an offset is beyond what the loss can take; the message begins with the row.
        """
        entries, first = Entries(), 0
        for column in self.columns:
            if column.role == FEATURE:
                _encode(entries, column, cells[column.title], first)
                first += column.width
        places, values = np.stack(entries.places, axis=1), np.stack(entries.values, axis=1)
        label, weight, offset = self._target(cells, len(places), start)
        if self.sparse:
            stored = (places >= 0) & (values != 0.0)
            indptr = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
            matrix: CsrRows | NDArray[np.float64] = CsrRows(
                indptr, places[stored].astype(np.int32), values[stored], self.features
            )
        else:
            matrix = np.ascontiguousarray(values)
        return RawRows(matrix, label, weight, start, offset)

    def _target(
        self, cells: Mapping[str, Vector | Words], rows: int, start: int
    ) -> tuple[Vector, Vector | None, Vector | None]:
        """Return labels, weights and offsets; with offset or exposure, those of the problem without them."""
        found = {column.role: cells[column.title] for column in self.columns if column.title in cells}
        label = _labels(found.get(TARGET, np.full(rows, np.nan)), self._of(TARGET))
        weight, offset = _numbers(found.get(WEIGHT)), _numbers(found.get(OFFSET))
        exposure = _numbers(found.get(EXPOSURE))
        if offset is None and exposure is None:
            return label, weight, None
        return without_offset(label, weight, offset, exposure, self.link, start)

    def _of(self, role: str) -> Column | None:
        return next((column for column in self.columns if column.role == role), None)


def _numbers(cells: Vector | Words | None) -> Vector | None:
    return None if cells is None or isinstance(cells, Words) else cells


def _labels(cells: Vector | Words, column: Column | None) -> Vector:
    if not isinstance(cells, Words):
        return cells
    known = {level: float(place) for place, level in enumerate(column.levels if column else ())}
    number = np.array([known.get(level, UNKNOWN_CLASS) for level in cells.levels] + [np.nan])
    return np.asarray(number[cells.code])


def _encode(entries: Entries, column: Column, cells: Vector | Words, first: int) -> None:
    """Add the features of a column, which begin at feature `first`."""
    if isinstance(cells, Words):
        place = level_places(column, cells.levels)[cells.code]
        entries.add(np.where(place >= 0, place + first, NOWHERE), np.ones(len(place)))
        return
    gap = np.isnan(cells)
    if column.hash_bits:
        last = first + column.width - 1 if column.indicator else NOWHERE
        entries.add(np.where(gap, last, np.where(gap, 0.0, cells).astype(np.int64) + first), np.ones(len(gap)))
        return
    entries.add(np.full(len(gap), first), np.where(gap, column.fill, cells))
    if column.indicator:
        entries.add(np.where(gap, first + 1, NOWHERE), gap.astype(np.float64))


def level_places(column: Column, levels: Sequence[str]) -> NDArray[np.int64]:
    """Return the feature of each level within its column, NOWHERE for none; the last is that of a gap."""
    place = {level: i for i, level in enumerate(column.levels)}
    other = place.get(RARE, NOWHERE)
    found = [NOWHERE if level == column.first_level and level else place.get(level, other) for level in levels]
    return np.array([*found, place.get(GAP, NOWHERE)], np.int64)
