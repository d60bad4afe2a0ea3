"""The folds that the flags of `path` or the keys of a sweep ask for."""

from __future__ import annotations

from pathlib import Path as FilePath

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.folds import ROWS, FoldOptions
from mpiopt.core.config.job import Job
from mpiopt.inference.clusters import coded
from mpiopt.objective.objective import Objective
from mpiopt.training.folds import (
    Folds,
    check_count,
    ordered_folds,
    repeated_folds,
    strata_of,
    times,
)
from mpiopt.training.path import Path
from mpiopt.training.row_numbers import column_of, lines_of, numbers_in_file, refuse_length

Labels = NDArray[np.str_]


def chosen_point(found: Path, choose: str) -> int:
    """Return the number of the point that becomes the model."""
    validated = found.cross_validation
    if validated is None or choose == "last":
        return len(found.points) - 1
    return validated.simplest if choose == "simplest" else validated.best


def read_labels(job: Job, asked: FoldOptions, comm: Comm) -> Labels | None:
    """Return the group or the time of each row in the order of the file, from a file or a column; collective.

    None without groups and times, and where the order of the rows is the time.
    """
    name, flag = (asked.groups, "groups") if asked.groups else (asked.time, "time")
    if not name or (flag == "time" and name == ROWS):
        return None
    if not FilePath(name).is_file():
        return column_of(job, name, flag, comm)
    with comm.agree_on_errors():
        return lines_of(name, flag)


def folds_of_file(job: Job, asked: FoldOptions, labels: Labels | None, objective: Objective, comm: Comm) -> Folds:
    """Return the folds of the rows in the order of the memory; collective."""
    shard = objective.shard
    if not asked.folds:
        return Folds.none()
    check_count(asked.folds, shard.total, asked.repeats)
    if asked.oof:
        numbers_in_file(job, shard, "oof")
    if labels is not None:
        refuse_length(asked.groups or asked.time, labels, shard.total)
    if asked.time:
        numbers = numbers_in_file(job, shard, "time")
        place = numbers.astype(np.float64) if labels is None else times(labels[numbers], comm)
        return Folds(ordered_folds(place, asked.folds, comm)[None], asked.folds, ordered=True)
    codes = None if labels is None else coded(labels[numbers_in_file(job, shard, "groups")], comm)
    strata = strata_of(objective)
    return repeated_folds(shard.order, strata, codes, asked.folds, asked.repeats, job.seed, comm)
