"""The flags of folds of the command `path`, and the folds that they ask for."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path as FilePath

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Job
from mpiopt.inference.clusters import coded
from mpiopt.objective.objective import Objective
from mpiopt.training.folds import (
    Folds,
    check_count,
    ordered_folds,
    refuse_beside_time,
    repeated_folds,
    strata_of,
    times,
)
from mpiopt.training.path import Path
from mpiopt.training.row_numbers import column_of, lines_of, numbers_in_file, refuse_length

CHOICES = ("best", "simplest", "last")
ROWS = "rows"  # as a time: the order of the rows in the file

Labels = NDArray[np.str_]


@dataclass(frozen=True)
class FoldOptions:
    """Flags of the command that a job does not have: folds, and which point becomes the model."""

    folds: int = 0
    repeats: int = 1
    groups: str = ""
    time: str = ""
    score: str = "deviance"
    choose: str = ""
    oof: str = ""

    def __post_init__(self) -> None:
        if self.choose not in ("", *CHOICES):
            raise ValueError(f"choose must be one of {', '.join(CHOICES)}; not {self.choose!r}")
        without = not self.folds and next((name for name in ("groups", "time", "oof") if getattr(self, name)), "")
        if without or (not self.folds and self.choose in CHOICES[:2]):
            raise ValueError(f"--{without or f'choose {self.choose}'} needs folds: --folds 5")

        if not self.folds and self.repeats != 1:
            raise ValueError("--repeats needs folds: --folds 5")
        if self.time:
            refuse_beside_time(bool(self.groups), self.repeats)

    def identity(self, labels: Labels | None) -> tuple[int | str, ...]:
        """Return what two paths with the same folds share; `labels` are the groups or times of the rows."""
        more = (self.repeats, self.time) if self.repeats != 1 or self.time else ()
        content = () if labels is None else (zlib.crc32("\n".join(labels.tolist()).encode(errors="replace")),)
        return (self.folds, self.groups, *more, *content)

    def point(self, found: Path) -> int:
        """Return the number of the point that becomes the model."""
        validated = found.cross_validation
        if validated is None or self.choose == "last":
            return len(found.points) - 1
        return validated.simplest if self.choose == "simplest" else validated.best


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
