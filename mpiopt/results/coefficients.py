"""The coefficients of a model with the names of their features, the largest first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from mpiopt.core.config.registry import nearest
from mpiopt.results.model import FittedModel, class_names

SORTS = ("size", "value", "name", "file")


@dataclass(frozen=True)
class CoefficientsShown:
    """Which coefficients `inspect` shows."""

    coefficients: int = 20
    """how many"""
    sort: str = "size"
    """size (the largest first), value, name, or file: the order of the columns"""

    filter: str = ""
    """those with such names alone: a wildcard, such as region[*]"""

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise ValueError(
                f"--sort must be one of {', '.join(SORTS)}; not {self.sort!r}{nearest(self.sort, SORTS)}"
            )
        if self.coefficients < 0:
            raise ValueError(f"--coefficients must be at least 0, not {self.coefficients}")


SOME = CoefficientsShown()


class CoefficientRows(NamedTuple):
    """A table of coefficients: a title, and for each row a name and the coefficient of each output."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def coefficient_rows(model: FittedModel, shown: CoefficientsShown) -> CoefficientRows:
    """Return coefficients as text, in the units of the input file; none for a model without names.

    Raises
    ------
    ValueError
        If no coefficient has a name as the user asks for.
    """
    names = model.feature_names
    if not names or not shown.coefficients:
        return CoefficientRows("", [], [])
    size = np.abs(model.coef).max(axis=0)
    keys = {"size": -size, "value": model.coef[0], "name": np.array(names), "file": np.arange(len(names))}
    order = np.argsort(keys[shown.sort], kind="stable")
    wanted = [i for i in order.tolist() if not shown.filter or _matches(names[i], shown.filter)]
    if not wanted:
        raise ValueError(f"--filter {shown.filter}: no coefficient has such a name{nearest(shown.filter, names)}")
    chosen = wanted[: shown.coefficients]
    classes = [] if model.classes is None else [str(name) for name in class_names(model.classes)]
    outputs = classes if len(model.coef) > 1 else ["coefficient" if len(classes) != 2 else f"for {classes[1]}"]
    rows = [[names[i], *(_number(value) for value in model.coef[:, i])] for i in chosen]
    rows.append(["(intercept)", *map(_number, model.intercept)])
    title = f"coefficients, {len(chosen)} of {len(wanted) if shown.filter else len(names)}, in units of the file"
    return CoefficientRows(title, ["feature", *outputs], rows)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))  # a bracket is part of a name here


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else str(value)
