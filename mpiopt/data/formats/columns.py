"""The columns of a table that are label and weight, and how they are separated from the features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import nearest
from mpiopt.data.formats.base import RawRows


@dataclass(frozen=True)
class Columns:
    """Places of label and weight among the columns of a table, None if it has none."""

    label: int | None
    weight: int | None
    names: list[str] | None  # of the features
    features: int

    def split(self, values: NDArray[np.float64], start: int) -> RawRows:
        """Separate rows of the table into features, label and weight; `start` is the number of the first row."""
        taken = [c for c in (self.label, self.weight) if c is not None]
        kept = np.delete(values, taken, axis=1) if taken else values
        label = np.full(len(values), np.nan) if self.label is None else values[:, self.label].copy()
        weight = None if self.weight is None else values[:, self.weight].copy()
        return RawRows(kept, label, weight, start)


def find_columns(path: str, count: int, names: list[str] | None, label: str, weight: str) -> Columns:
    """Find the columns that `label` and `weight` mean: first, last, none, a name or a number from 1.

    Raises
    ------
    ValueError
        If there is no such column, or none is left for the features.
    """
    places = {"first": 0, "last": count - 1, "none": None, "": None}
    found = [places[w] if w in places else _place_of(path, w, count, names) for w in (label, weight)]
    rest = [k for k in range(count) if k not in found]
    if not rest:
        raise ValueError(f"{path}: has {count} columns; at least one besides label and weight is needed")
    return Columns(found[0], found[1], [names[k] for k in rest] if names else None, len(rest))


def _place_of(path: str, wanted: str, count: int, names: list[str] | None) -> int:
    if names and wanted in names:
        return names.index(wanted)
    if wanted.isdigit() and 1 <= int(wanted) <= count:
        return int(wanted) - 1
    known = ", ".join((names or [])[:20]) or f"none have names; numbers 1 to {count}"
    raise ValueError(f"{path}: no column {wanted!r}{nearest(wanted, names or [])}; columns: {known}")
