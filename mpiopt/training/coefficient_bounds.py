"""Bounds on coefficients as users give them, by the names of columns, and in the columns of the algorithm."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.columns import FALLING, RISING
from mpiopt.core.config.job import NO_PENALTY, Model, named_bounds
from mpiopt.core.config.registry import nearest
from mpiopt.objective.bounds import Bounds
from mpiopt.objective.objective import Objective
from mpiopt.results.model import FittedModel

Pair = tuple[float | None, float | None]

MONOTONE = re.compile(rf"\[({RISING}|{FALLING}) \d+\]$")  # ends the name of a feature of a monotone spline
NO_SUMMARY_OF_GROUPS = "a summary takes no l1_groups: train without l1 on the columns that they chose"


def refuse_summary(model: Model) -> None:
    """Raise ValueError if coefficients of a model have no standard errors."""
    if model.l1_groups:
        raise ValueError(NO_SUMMARY_OF_GROUPS)


def is_bounded(model: Model, names: Sequence[str] | None) -> bool:
    """Return whether coefficients have bounds: those of the model, or of monotone splines."""
    return model.bounded or bool(monotone(names))


def monotone(names: Sequence[str] | None) -> list[int]:
    """Return the features of monotone splines, by their names; their coefficients are at least 0."""
    return [j for j, name in enumerate(names or ()) if MONOTONE.search(name)]


def with_bounds(
    objective: Objective, model: Model, size: NDArray[np.float64], names: Sequence[str] | None
) -> Objective:
    """Return the objective with the bounds of a model.

    Parameters
    ----------
    objective : Objective
        Without bounds.
    model : Model
        As the user gave it.
    size : ndarray, shape (d,)
        What the coefficients of the file are multiplied by to give the weights of the objective.
    names : sequence of str, optional
        Of the columns; x1, x2 … by default.

    Raises
    ------
    ValueError
        If a name is that of no column, bounds contradict each other, or the model has several outputs.
    """
    if not is_bounded(model, names):
        return objective
    if objective.outputs > 1:
        raise ValueError(
            f"bounds on coefficients take losses with one output, not {objective.loss.name}; train one class against "
            "the others"
        )
    if not any(objective.penalty.strengths):
        raise ValueError(NO_PENALTY)
    if model.l1_groups:
        raise ValueError("monotone splines take no l1_groups; leave out one of both")
    d = objective.shard.features
    of_file = bounds_of_file(model, d, names)
    lower, upper = (np.full(objective.width, end) for end in (-np.inf, np.inf))
    lower[:d], upper[:d] = of_file.lower * size, of_file.upper * size
    return replace(objective, bounds=Bounds(lower, upper))


def kept_within(found: FittedModel, model: Model, names: Sequence[str] | None) -> FittedModel:
    """Return a model of the file's columns within its bounds: other units may have moved it by a rounding error."""
    if not is_bounded(model, names):
        return found
    bounds = bounds_of_file(model, found.coef.shape[1], names)
    return replace(found, coef=np.clip(found.coef, bounds.lower, bounds.upper))


def bounds_of_file(model: Model, d: int, names: Sequence[str] | None) -> Bounds:
    """Return the bounds of the coefficients of d columns, in the units of the file; ValueError as `with_bounds`."""
    titles = list(names) if names is not None else [f"x{j + 1}" for j in range(d)]
    lower, upper = (np.full(d, end) for end in (-np.inf, np.inf))
    for pattern, (low, high) in named_bounds(model.bounds).items():
        told = pattern.replace("[", "[[]")  # a bracket is part of a name here
        chosen = [j for j, title in enumerate(titles) if title == pattern or fnmatchcase(title, told)]
        if not chosen:
            raise ValueError(f"bounds: no column is called {pattern!r}{nearest(pattern, titles)}")
        lower[chosen], upper[chosen] = low, high
    shaped = monotone(names)
    lower[shaped] = np.maximum(lower[shaped], 0.0)
    if model.nonnegative:
        lower = np.maximum(lower, 0.0)
    below = np.flatnonzero(upper < lower)
    if len(below):
        raise ValueError(f"bounds: column {titles[below[0]]} is to be below 0 and at least 0")
    return Bounds(lower, upper)


def text_of(bounds: Mapping[str, Pair] | str | None) -> str:
    """Return bounds as a job file has them, from pairs by the name of the column; None stands for no bound."""
    if bounds is None or isinstance(bounds, str):
        return bounds or ""
    if not isinstance(bounds, Mapping):
        raise ValueError(f"bounds must be a mapping of names to pairs, or a text; not {type(bounds).__name__}")
    rules = []
    for name, pair in bounds.items():
        if "," in str(name):
            raise ValueError(f"bounds: {name!r} has a comma; write ? for it")
        try:
            low, high = (None if end is None else float(end) for end in pair)
        except (TypeError, ValueError):
            raise ValueError(f"bounds are pairs (least, largest), not {pair!r} for {name}") from None
        least = "" if low in (None, -np.inf) else repr(low)
        rules.append(f"{name}={least}:{'' if high in (None, np.inf) else repr(high)}")
    return ",".join(rules)
