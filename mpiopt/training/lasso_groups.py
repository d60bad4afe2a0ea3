"""Groups of columns for the group lasso as users give them, by the names of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from mpiopt.core.config.columns import split_names
from mpiopt.core.config.job import Model
from mpiopt.core.config.registry import nearest
from mpiopt.objective.column_groups import ColumnGroups
from mpiopt.objective.objective import Objective

COLUMNS = "columns"  # each column of a table is a group


def with_groups(objective: Objective, model: Model, names: Sequence[str] | None) -> Objective:
    """Return the objective with the groups of a model, each other column being one by itself.

    Raises
    ------
    ValueError
        If there is no l1, a name is that of no column, a column is in two groups, or the model has several outputs.
    """
    if not model.l1_groups:
        return objective
    if not objective.penalty.strengths[0] > 0.0:
        raise ValueError("l1_groups needs an l1 above 0, the strength of their penalty")
    found = grouped(objective, model, names)
    return replace(found, penalty=found.named_penalty)


def grouped(objective: Objective, model: Model, names: Sequence[str] | None) -> Objective:
    """Return the objective with groups, and the penalty that it has."""
    if not model.l1_groups:
        return objective
    if objective.outputs > 1:
        raise ValueError(f"l1_groups takes losses with one output, not {objective.loss.name}")
    titles = list(names) if names is not None else [f"x{j + 1}" for j in range(objective.shard.features)]
    number = _of_table(titles) if model.l1_groups == COLUMNS else _of_names(model.l1_groups, titles)
    return replace(objective, groups=ColumnGroups.of(number, objective.rate))


def _of_table(titles: Sequence[str]) -> NDArray[np.int64]:
    """Return the group of each feature: region[north] and region[south] are of the column region."""
    stems = [title.partition("[")[0] if title.endswith("]") else title for title in titles]
    known = {stem: k for k, stem in enumerate(dict.fromkeys(stems))}
    if len(known) == len(titles):
        raise ValueError("l1_groups=columns: no column of the table has several features; name the groups as a+b,c+d")
    return np.array([known[stem] for stem in stems], np.int64)


def _of_names(text: str, titles: Sequence[str]) -> NDArray[np.int64]:
    """Return the group of each feature from names such as a+b,c*."""
    number = np.full(len(titles), -1, np.int64)
    for k, group in enumerate(split_names(text)):
        for pattern in filter(None, map(str.strip, group.split("+"))):
            told = pattern.replace("[", "[[]")  # a bracket is part of a name here
            chosen = [j for j, title in enumerate(titles) if title == pattern or fnmatchcase(title, told)]
            if not chosen:
                raise ValueError(f"l1_groups: no column is called {pattern!r}{nearest(pattern, titles)}")
            twice = [titles[j] for j in chosen if number[j] not in (-1, k)]
            if twice:
                raise ValueError(f"l1_groups: column {twice[0]} is in two groups")
            number[chosen] = k
    alone = np.flatnonzero(number < 0)
    number[alone] = number.max(initial=-1) + 1 + np.arange(len(alone))
    return np.asarray(np.unique(number, return_inverse=True)[1], np.int64)


def text_of_groups(groups: Sequence[Sequence[str]] | str | None) -> str:
    """Return groups as a job file has them, from lists of names."""
    if groups is None or isinstance(groups, str):
        return groups or ""
    return ",".join("+".join(map(str, group)) for group in groups)
