"""Weights of the rows by their class: "balanced", or a table; the classes are those of all ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm

BALANCED = "balanced"
SHOWN = 5  # classes that a message names


def row_weights(
    class_weight: Mapping[Any, float] | str | None,
    y: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    ranks: Comm,
) -> NDArray[np.float64] | None:
    """Return the weight of each row times that of its class; collective.

    Parameters
    ----------
    class_weight : mapping, "balanced" or None
        A weight for each class, 1 for classes that a mapping does not name. "balanced" gives every class the same
        sum of weights. None leaves the weights of the rows as they are.
    y : ndarray, (n,)
        Labels of this rank's rows.
    sample_weight : ndarray, (n,), optional
        Weights of the rows; 1 by default.
    ranks : Comm
        The ranks.

    Returns
    -------
    ndarray, (n,), or None
        None if neither rows nor classes have weights.

    Raises
    ------
    ValueError
        On all ranks: for another word, a weight below 0, or a table of other classes.
    """
    if class_weight is None:
        return sample_weight
    with ranks.agree_on_errors():
        _check(class_weight)
        own = np.ones(len(y)) if sample_weight is None else sample_weight
        if own.shape != y.shape:
            raise ValueError(f"y has the shape {y.shape}, sample_weight {own.shape}")
        labels, place = np.unique(y, return_inverse=True)
        sums = np.bincount(place, weights=own, minlength=len(labels))
        try:
            mine = json.dumps([labels.tolist(), sums.tolist()]).encode()
        except TypeError:
            raise ValueError(
                f"class_weight takes labels that are words, numbers or booleans; found {labels.dtype}"
            ) from None
    total: dict[Any, float] = {}
    for part in ranks.allgather(np.frombuffer(mine, np.uint8)):
        for label, weight in zip(*json.loads(part.tobytes()), strict=True):
            total[label] = total.get(label, 0.0) + weight
    with ranks.agree_on_errors():
        table = _balanced(total) if isinstance(class_weight, str) else _by_class(class_weight, list(total))
    return own * np.array([table[label] for label in labels.tolist()])[place] if len(y) else own


def _check(class_weight: Mapping[Any, float] | str) -> None:
    """Raise ValueError unless the class weights are "balanced" or a mapping with weights of at least 0."""
    if isinstance(class_weight, str):
        if class_weight != BALANCED:
            raise ValueError(f'class_weight must be "balanced", a mapping or None; not {class_weight!r}')
        return
    if not isinstance(class_weight, Mapping):
        raise ValueError(f'class_weight must be "balanced", a mapping or None; not {type(class_weight).__name__}')
    for label, weight in class_weight.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"class_weight[{label!r}] must be a number of at least 0, not {weight!r}")


def _balanced(total: Mapping[Any, float]) -> dict[Any, float]:
    whole = sum(total.values())
    return {label: whole / (len(total) * weight) if weight else 0.0 for label, weight in total.items()}


def _by_class(class_weight: Mapping[Any, float], labels: list[Any]) -> dict[Any, float]:
    """Return the weight of each class; ValueError if a class has none and the table names one that is not there."""
    named = {key.item() if isinstance(key, np.generic) else key: float(value) for key, value in class_weight.items()}
    unknown, without = [key for key in named if key not in labels], [label for label in labels if label not in named]
    if unknown and without:
        found = ", ".join(map(repr, labels[:SHOWN])) + (", …" if len(labels) > SHOWN else "")
        raise ValueError(
            f"class_weight names the class {unknown[0]!r}, and the labels are {found}; name one of these"
        )
    return {label: named.get(label, 1.0) for label in labels}
