"""Encode rows of a table as features: numbers, and ones at the places of levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.columns import FALLING
from mpiopt.data.formats.base import RawRows
from mpiopt.data.offsets import GIVEN, STAYS, summed, without_offset
from mpiopt.data.shard import CsrRows, Vector
from mpiopt.data.tables.arrow import TEXT
from mpiopt.data.tables.cells import Words
from mpiopt.data.tables.column import (
    EXPOSURE,
    FEATURE,
    GAP,
    OFFSET,
    RARE,
    TARGET,
    WEIGHT,
    Column,
    interactions,
)
from mpiopt.data.tables.splines import basis_values, shaped_values

UNKNOWN_CLASS = -1.0  # the number of a class that the training had not
NOWHERE = -1  # no feature


class Entries(NamedTuple):
    """The features of one column, or of an interaction: k entries for each row, ascending in their places."""

    places: NDArray[np.integer[Any]]  # (n, k) numbers of features, from 0; NOWHERE where there is none
    values: Vector  # (n, k)

    def times(self, other: Entries, width: int) -> Entries:
        """Return the products with the features of another column, which has `width` of them."""
        left, right = self.places[:, :, None], other.places[:, None, :]
        places = np.where((left >= 0) & (right >= 0), left * width + right, NOWHERE)
        values = self.values[:, :, None] * other.values[:, None, :]
        return Entries(places.reshape(len(places), -1), values.reshape(len(values), -1))

    def copy_to(self, out: Entries, at: int, first: int) -> int:
        """Copy to entry `at` and those that follow, of features that begin at `first`; return the end."""
        end = at + int(self.places.shape[1])
        np.add(self.places, first, out=out.places[:, at:end], casting="same_kind")
        nowhere = self.places < 0
        if nowhere.any():
            out.places[:, at:end][nowhere] = NOWHERE
        out.values[:, at:end] = self.values
        return end


class _Target(NamedTuple):
    """What rows have beside their features."""

    label: Vector
    weight: Vector | None = None
    offset: Vector | None = None
    exposure: Vector | None = None


@dataclass(frozen=True)
class Encoder:
    """What turns cells into rows.

    Parameters
    ----------
    columns : sequence of Column
        Features, target, weights, offset, exposure.
    link : str
        How the loss takes an offset: "log" as a factor e of the expected target, which multiplies the weight as well,
        "log:q" with e^q for the weight; "identity" as a shift of the target; "margin" as it is; "given": no loss is
        known yet; "" not at all.
    """

    columns: Sequence[Column]
    link: str = ""

    @cached_property
    def _known(self) -> dict[str, dict[str, int]]:
        return {column.title: places_of(column) for column in self.columns if column.kind == TEXT}

    @cached_property
    def features(self) -> int:
        """Number of features."""
        crossed = (prod(column.width for column in columns) for columns in interactions(self.columns))
        return sum(column.width for column in self.columns) + sum(crossed)

    @property
    def names(self) -> list[str]:
        """The names of the features."""
        crossed = (product(*(c.feature_names for c in columns)) for columns in interactions(self.columns))
        return [
            *(name for column in self.columns for name in column.feature_names),
            *(":".join(names) for every in crossed for names in every),
        ]

    @property
    def offsets_stay(self) -> bool:
        """Whether rows have offsets that stay beside their labels."""
        return self.link.startswith(STAYS) and any(column.role in (OFFSET, EXPOSURE) for column in self.columns)

    @property
    def sparse(self) -> bool:
        """Whether rows are sparse: a column has levels, or a spline."""
        return any(column.role == FEATURE and (column.kind == TEXT or column.is_spline) for column in self.columns)

    def rows(self, cells: Mapping[str, Vector | Words], start: int) -> RawRows:
        """Return the rows of a batch; `cells` has each column by its title, `start` is the number of the first.

        Raises
        ------
        ValueError
            If an offset is beyond what the loss can take; the message begins with the row.
        """
        places, values = self._entries(cells)
        target = self._target(cells, len(places), start)
        if self.sparse:
            stored = (places >= 0) & (values != 0.0)
            indptr = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
            matrix: CsrRows | NDArray[np.float64] = CsrRows(indptr, places[stored], values[stored], self.features)
        else:
            matrix = np.ascontiguousarray(values)
        stays = self.offsets_stay or self.link == GIVEN
        return RawRows(matrix, target.label, target.weight, start, target.offset, stays, target.exposure)

    def _entries(self, cells: Mapping[str, Vector | Words]) -> Entries:
        """Return the features of columns and interactions."""
        own = {
            column.title: _encode(column, cells[column.title], self._known.get(column.title))
            for column in self.columns
            if column.role == FEATURE
        }
        parts = [(own[column.title], column.width) for column in self.columns if column.role == FEATURE]
        for columns in interactions(self.columns):
            found = own[columns[0].title]
            for column in columns[1:]:
                found = found.times(own[column.title], column.width)
            parts.append((found, prod(column.width for column in columns)))
        shape = (len(parts[0][0].places), sum(found.places.shape[1] for found, _ in parts))
        every, at, first = Entries(np.empty(shape, np.int32), np.empty(shape)), 0, 0
        for found, width in parts:
            at, first = found.copy_to(every, at, first), first + width
        return every

    def _target(self, cells: Mapping[str, Vector | Words], rows: int, start: int) -> _Target:
        """Return labels, weights and offsets; where these do not stay, those of the problem without them."""
        found = {column.role: cells[column.title] for column in self.columns if column.title in cells}
        label = _labels(found.get(TARGET, np.full(rows, np.nan)), self._of(TARGET))
        weight, offset = _numbers(found.get(WEIGHT)), _numbers(found.get(OFFSET))
        exposure = _numbers(found.get(EXPOSURE))
        if offset is None and exposure is None:
            return _Target(label, weight)
        if self.link == GIVEN:
            return _Target(label, weight, offset, exposure)
        if self.link.startswith(STAYS):
            return _Target(label, weight, summed(offset, exposure, rows))
        return _Target(*without_offset(label, weight, offset, exposure, self.link, start))

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


def _encode(column: Column, cells: Vector | Words, known: Mapping[str, int] | None) -> Entries:
    """Return the features of a column."""
    if isinstance(cells, Words):
        place = level_places(column, cells.levels, known)[cells.code]
        return _contrasts(column, place) if column.sums_to_zero else Entries(place[:, None], np.ones((len(place), 1)))
    gap = np.isnan(cells)
    if column.hash_bits:
        last = column.width - 1 if column.indicator else NOWHERE
        place = np.where(gap, last, np.where(gap, 0.0, cells).astype(np.int64))
        return Entries(place[:, None], np.ones((len(gap), 1)))
    filled = np.where(gap, column.fill, cells)
    found = (
        _spline(column, filled, gap)
        if column.is_spline
        else Entries(np.zeros((len(gap), 1), np.int64), filled[:, None])
    )
    if not column.indicator:
        return found
    place = np.where(gap, column.width - 1, NOWHERE)
    return Entries(np.column_stack([found.places, place]), np.column_stack([found.values, gap.astype(np.float64)]))


def _contrasts(column: Column, place: NDArray[np.int64]) -> Entries:
    """Return the features of levels that sum to zero: the last level, of place `width`, is -1 in all of them."""
    width = max(column.width, 1)
    last = (place == column.width)[:, None]
    places = np.where(last, np.arange(width), np.where(np.arange(width) == 0, place[:, None], NOWHERE))
    return Entries(
        places if column.width else np.full_like(places, NOWHERE), np.where(last, -1.0, 1.0) + 0.0 * places
    )


def _spline(column: Column, x: Vector, gap: NDArray[np.bool_]) -> Entries:
    """Return the functions of a spline; those of a gap that is a level of its own are all 0."""
    if column.shape != "free":
        values = shaped_values(x, column.knots, column.degree, column.shape == FALLING)
        places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
        return Entries(places, np.where(gap[:, None], 0.0, values) if column.gaps == "level" else values)
    first, values = basis_values(x, column.knots, column.degree)
    places = first[:, None] + np.arange(column.degree + 1) - column.drops_first
    values = np.where(gap[:, None], 0.0, values) if column.gaps == "level" else values
    return Entries(np.where(places >= 0, places, NOWHERE), values)


def level_places(column: Column, levels: Sequence[str], known: Mapping[str, int] | None = None) -> NDArray[np.int64]:
    """Return the feature of each level within its column, NOWHERE for none; the last is that of a gap.

    `known` is the result of `places_of`, where it is at hand.
    """
    place = places_of(column) if known is None else known
    other = place.get(RARE, NOWHERE)
    found = [place.get(level, other) for level in levels]
    if column.first_level:
        found = [NOWHERE if level == column.first_level else at for level, at in zip(levels, found, strict=True)]
    return np.array([*found, place.get(GAP, NOWHERE)], np.int64)


def places_of(column: Column) -> dict[str, int]:
    """Return the feature of each known level within its column."""
    return {level: place for place, level in enumerate(column.levels)}
