"""Which columns of a table are the label and the weight, and taking them out of the features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import nearest
from mpiopt.data.formats.base import RawRows


@dataclass(frozen=True)
class Columns:
    """Places of the label and of the weight among the columns of a table, None where it has none."""

    label: int | None
    weight: int | None
    names: list[str] | None  # of the features
    features: int

    def split(self, values: NDArray[np.float64], start: int) -> RawRows:
        """Cut rows of the table into features, label and weight."""
        taken = [c for c in (self.label, self.weight) if c is not None]
        kept = np.delete(values, taken, axis=1) if taken else values
        label = np.full(len(values), np.nan) if self.label is None else values[:, self.label].copy()
        weight = None if self.weight is None else values[:, self.weight].copy()
        return RawRows(kept, label, weight, start)


def choose(path: str, count: int, names: list[str] | None, label: str, weight: str) -> Columns:
    """Find the columns that `label` (first, last, none, a name or a number from 1) and `weight` mean.

    Raises
    ------
    ValueError
        If there is no such column, or none is left for the features.
    """
    places = {"first": 0, "last": count - 1, "none": None, "": None}
    found = [places[w] if w in places else _named(path, w, count, names) for w in (label, weight)]
    rest = [k for k in range(count) if k not in found]
    if not rest:
        raise ValueError(f"{path}: has {count} columns; at least one besides label and weight is needed")
    return Columns(found[0], found[1], [names[k] for k in rest] if names else None, len(rest))


def _named(path: str, wanted: str, count: int, names: list[str] | None) -> int:
    if names and wanted in names:
        return names.index(wanted)
    if wanted.isdigit() and 1 <= int(wanted) <= count:
        return int(wanted) - 1
    known = ", ".join((names or [])[:20]) or f"none have names; numbers 1 to {count}"
    raise ValueError(f"{path}: no column {wanted!r}{nearest(wanted, names or [])}; columns: {known}")
