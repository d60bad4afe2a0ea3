"""The columns of a table that are label and weight, and how they are separated from the features."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.registry import nearest
from mpiopt.data.formats.base import RawRows
from mpiopt.data.schema import Place, Schema

WORDS = ("first", "last", "none", "")  # options that are no titles


@dataclass(frozen=True)
class Columns:
    """Places of label and weight among the columns of a table, None if it has none."""

    label: int | None
    weight: int | None
    names: list[str] | None  # of the features
    features: int
    titles: tuple[str, str] = ("", "")  # of label and weight

    @property
    def places(self) -> dict[str, Place]:
        """Where label and weight are, as a `Schema` has it."""
        found = zip(("label", "weight"), (self.label, self.weight), self.titles, strict=True)
        return {key: Place() if at is None else Place(title, at + 1) for key, at, title in found}

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
    titles = [names[k] if names and k is not None else "" for k in found]
    return Columns(found[0], found[1], [names[k] for k in rest] if names else None, len(rest), (titles[0], titles[1]))


def columns_like(
    path: str, count: int, names: list[str] | None, schema: Schema, given: Collection[str]
) -> dict[str, str]:
    """Return the options label and weight for another table, to which a model of this schema is applied.

    With titles on both sides the columns are found by title, else by their place in the training file; a missing one
    is "none". An option in `given` is left out: it stays as the user has set it.

    Raises
    ------
    ValueError
        If the columns are counted, and there are neither as many as in the training file nor only the features.
    """
    if {"label", "weight"} <= {*given}:
        return {}
    if names and (schema.names or schema.label.title in names):
        found = _by_title(names, schema)
    else:
        found = _by_count(path, count, names, schema)
    return {key: option for key, option in found.items() if key not in given}


def _by_title(names: list[str], schema: Schema) -> dict[str, str]:
    found = {
        key: _option(names, names.index(place.title)) if place.title in names else "none"
        for key, place in (("label", schema.label), ("weight", schema.weight))
    }
    known = {*(schema.names or ()), schema.label.title, schema.weight.title}
    if schema.columns is None and found["label"] == "none" and names[-1] not in known:
        found["label"] = "last"  # the model is of a file without a column for the labels
    return found


def _option(names: list[str] | None, at: int) -> str:
    """Return the option that means a column: its title, or its number without one that means only this column."""
    return str(at + 1) if not names or names[at] in WORDS else names[at]


def _by_count(path: str, count: int, names: list[str] | None, schema: Schema) -> dict[str, str]:
    order = {number: key for key, (_, number) in (("label", schema.label), ("weight", schema.weight)) if number}
    sequence = [order.get(k + 1, "") for k in range(schema.columns or 0)] or [*[""] * schema.features, "label"]
    lacking = [()] + [("weight",)] * ("weight" in sequence) + [("label", "weight")]
    for left_out in lacking:
        kept = [key for key in sequence if key not in left_out]
        if len(kept) == count:
            places = {key: kept.index(key) if key in kept else None for key in ("label", "weight")}
            return {key: "none" if at is None else _option(names, at) for key, at in places.items()}
    extra = f" and {', '.join(key for key in sequence if key)}" if any(sequence) else ""
    known = "" if names else " without titles"
    raise ValueError(f"{path}: has {count} columns{known}; the model has {schema.features} features{extra}")


def _place_of(path: str, wanted: str, count: int, names: list[str] | None) -> int:
    if names and wanted in names:
        return names.index(wanted)
    if wanted.isdigit() and 1 <= int(wanted) <= count:
        return int(wanted) - 1
    known = ", ".join((names or [])[:20]) or f"none have names; numbers 1 to {count}"
    raise ValueError(f"{path}: no column {wanted!r}{nearest(wanted, names or [])}; columns: {known}")
