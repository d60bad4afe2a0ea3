"""Labels of a file to those of a loss: two values to -1 and +1, whole numbers to classes, targets as they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.shard import Vector

MOST_CLASSES = 65536
MOST_GUESSED = 100
FITS = {"binary": "two label values", "multiclass": "whole labels, at least two", "count": "no negative labels"}


def distinct(label: Vector, comm: Comm) -> Vector:
    """Give the distinct labels of all ranks, ascending; where they are too many for classes, the first of them."""
    mine = np.unique(label)[: MOST_CLASSES + 1]
    return np.unique(np.concatenate(comm.allgather(mine)))[: MOST_CLASSES + 1]


def classes(path: str, values: Vector, target: str, losses: Mapping[str, str]) -> Vector | None:
    """Return the classes behind these distinct labels, or None for a real target.

    `losses` maps the name of each loss to its target; the error message names those that fit.

    Raises
    ------
    ValueError
        If the labels do not fit the target; the message names the losses that they fit.
    """
    if target in ("real", "count"):
        if target == "count" and values[0] < 0:
            raise ValueError(_misfit(path, values, target, losses))
        return None
    if len(values) == 1:
        raise ValueError(f"{path}: all rows have the label {values[0]:g}; a classifier needs at least two classes")
    whole = bool((values == np.floor(values)).all()) and len(values) <= MOST_CLASSES
    if (target == "binary" and len(values) != 2) or (target == "multiclass" and not whole):
        raise ValueError(_misfit(path, values, target, losses))
    return values


def guess(values: Vector) -> str:
    """Give what these distinct labels look like: two values, up to 100 whole numbers, or real targets."""
    whole = bool((values == np.floor(values)).all())
    if len(values) == 2:
        return "binary"
    return "multiclass" if whole and 2 < len(values) <= MOST_GUESSED else "real"


def fitting(values: Vector) -> list[str]:
    """Name the targets that these distinct labels fit."""
    whole = bool((values == np.floor(values)).all()) and 2 <= len(values) <= MOST_CLASSES
    fits = {"binary": len(values) == 2, "multiclass": whole, "real": True, "count": values[0] >= 0}
    return [target for target, fit in fits.items() if fit]


def _misfit(path: str, values: Vector, target: str, losses: Mapping[str, str]) -> str:
    wanted = ", ".join(name for name, takes in losses.items() if takes == target) or target
    others = ", ".join(name for name, takes in losses.items() if takes in fitting(values)) or ", ".join(
        fitting(values)
    )
    many = f"more than {MOST_CLASSES}" if len(values) > MOST_CLASSES else str(len(values))
    some = ", ".join(f"{v:g}" for v in values[:5]) + (", …" if len(values) > 5 else "")
    return (
        f"{path}: {many} distinct labels ({some}) do not fit {wanted}, which takes {FITS[target]}; "
        f"losses that fit: {others}"
    )


def mapped(path: str, label: Vector, known: Vector, target: str) -> Vector:
    """Give the labels as the loss takes them.

    Raises
    ------
    ValueError
        If a label is none of the `known` classes.
    """
    number = np.searchsorted(known, label)
    found = known[np.minimum(number, len(known) - 1)] == label
    if not found.all():
        strange = label[~found][0]
        listed = ", ".join(f"{v:g}" for v in known[:10])
        raise ValueError(f"{path}: label {strange:g} is none of the classes trained on: {listed}")
    return np.asarray(2.0 * number - 1.0 if target == "binary" else number, np.float64)
