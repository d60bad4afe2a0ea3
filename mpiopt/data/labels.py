"""Turn the labels of a file into those of a loss: two values to -1 and +1, whole numbers to classes, or real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.shard import Vector

MAX_CLASSES = 65536  # more distinct labels than this are real targets
FEW = 5  # labels in a message
MAX_GUESSED = 100  # whole-number labels are taken for classes if there are at most this many distinct ones
NEEDS = {
    "binary": "two label values",
    "multiclass": "whole labels, at least two",
    "count": "no negative labels",
    "positive": "labels above 0",
    "rate": "labels from 0 to 1",
}
NUMBERS = ("real", "count", "positive", "rate")  # targets whose labels stay numbers


def distinct(label: Vector, comm: Comm) -> Vector:
    """Return the distinct labels of all ranks, ascending, but only the first MAX_CLASSES + 1; collective."""
    mine = np.unique(label)[: MAX_CLASSES + 1]
    return np.unique(np.concatenate(comm.allgather(mine)))[: MAX_CLASSES + 1]


def are_many(label: Vector) -> bool:
    """Return whether more than MAX_GUESSED labels are distinct; the first rows show it of most real targets."""
    return any(len(np.unique(part)) > MAX_GUESSED for part in (label[: 10 * MAX_GUESSED], label))


def target_and_classes(
    path: str, label: Vector, target: str, losses: Mapping[str, str], comm: Comm, names: Sequence[object] = ()
) -> tuple[str, Vector | None]:
    """Return the target, guessed if it is "auto", and the classes in the labels of all ranks; collective."""
    if target == "auto" and comm.max(np.array([float(are_many(label))]))[0]:
        return "real", None
    values = distinct(label, comm)
    target = guess_target(values) if target == "auto" else target
    return target, find_classes(path, values, target, losses, [names[int(v)] for v in values] if names else ())


def are_classes(values: Vector) -> bool:
    """Return whether the distinct labels can be class numbers: whole, and not too many."""
    return len(values) <= MAX_CLASSES and bool((values == np.floor(values)).all())


def find_classes(
    path: str, values: Vector, target: str, losses: Mapping[str, str], names: Sequence[object] = ()
) -> Vector | None:
    """Return the classes behind the distinct labels `values`, or None for a real target.

    Parameters
    ----------
    path : str
        The file, for messages.
    values : ndarray of float64
        The distinct labels, ascending.
    target : str
        "binary", "multiclass", or one of `NUMBERS`.
    losses : mapping of str to str
        The target of each loss; a message names the losses that fit the labels.
    names : sequence
        What the user calls the labels, for messages; by default their numbers.

    Raises
    ------
    ValueError
        If the labels do not fit the target.
    """
    if target in NUMBERS:
        if target not in _fitting(values):
            raise ValueError(_describe_misfit(path, values, names, target, losses))
        return None
    if len(values) == 1:
        (only,) = _shown(values, names)
        raise ValueError(f"{path}: all rows have the label {only}; a classifier needs at least two classes")
    if (target == "binary" and len(values) != 2) or (target == "multiclass" and not are_classes(values)):
        raise ValueError(_describe_misfit(path, values, names, target, losses))
    return values


def _shown(values: Vector, names: Sequence[object]) -> list[str]:
    """Return the first labels as the user knows them."""
    return [repr(name) for name in names[:FEW]] or [f"{value:g}" for value in values[:FEW]]


def guess_target(values: Vector) -> str:
    """Return the kind of the distinct labels: two values, up to 100 whole numbers, or real targets."""
    if len(values) == 2:
        return "binary"
    return "multiclass" if are_classes(values) and 2 < len(values) <= MAX_GUESSED else "real"


def fits(values: Vector, target: str) -> bool:
    """Return whether the distinct labels, or the least and the largest of them, fit one of `NUMBERS`."""
    return target in _fitting(values)


def _fitting(values: Vector) -> list[str]:
    """Return the targets that the distinct labels fit."""
    fits = {
        "binary": len(values) == 2,
        "multiclass": are_classes(values) and len(values) >= 2,
        "real": True,
        "count": values[0] >= 0,
        "positive": values[0] > 0,
        "rate": values[0] >= 0 and values[-1] <= 1,
    }
    return [target for target, fit in fits.items() if fit]


def _describe_misfit(
    path: str, values: Vector, names: Sequence[object], target: str, losses: Mapping[str, str]
) -> str:
    wanted = ", ".join(name for name, takes in losses.items() if takes == target) or target
    one = "" if "," in wanted else "s"
    fitting = _fitting(values)
    others = ", ".join(name for name, takes in losses.items() if takes in fitting) or ", ".join(fitting)
    many = f"more than {MAX_CLASSES}" if len(values) > MAX_CLASSES else str(len(values))
    some = ", ".join(_shown(values, names)) + (", …" if len(values) > FEW else "")
    return (
        f"{path}: {many} distinct labels ({some}) do not fit {wanted}, which take{one} {NEEDS[target]}; "
        f"losses that fit: {others}"
    )


def map_labels(label: Vector, known: Vector, target: str) -> Vector:
    """Return the labels as the loss takes them: -1 and +1, or numbers of the `known` classes; NaN for others."""
    number = np.searchsorted(known, label)
    right = known[np.minimum(number, len(known) - 1)] == label
    return np.where(right, 2.0 * number - 1.0 if target == "binary" else number, np.nan)
