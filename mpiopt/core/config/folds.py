"""The flags of folds of `path` and the keys of a sweep: which rows are held out, and which score counts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpiopt.core.config.job import Job

CHOICES = ("best", "simplest", "last")
ROWS = "rows"  # as a time: the order of the rows in the file


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
        if self.folds and self.folds < 2:  # before anything is fitted
            raise ValueError(f"folds must be at least 2, not {self.folds}")
        if self.time:
            refuse_beside_time(bool(self.groups), self.repeats)

    def identity(self, labels: Sequence[str] | None) -> tuple[int | str, ...]:
        """Return what two paths with the same folds share; `labels` are the groups or times of the rows."""
        more = (self.repeats, self.time) if self.repeats != 1 or self.time else ()
        content = () if labels is None else (zlib.crc32("\n".join(labels).encode(errors="replace")),)
        return (self.folds, self.groups, *more, *content)

    def without_groups(self, job: Job) -> Job:
        """Return the job without the column of the groups among its features: a group is no feature."""
        columns = job.data.columns
        if not self.groups or Path(self.groups).is_file() or self.groups in columns.drop:
            return job
        return replace(job, data=replace(job.data, columns=replace(columns, drop=(*columns.drop, self.groups))))


def refuse_beside_time(groups: bool, repeats: int) -> None:
    """Raise ValueError if folds by time are to be repeated, or to keep groups together."""
    if groups or repeats != 1:
        raise ValueError(f"folds by time take no {'groups' if groups else 'repeats'}: there is one order of the rows")
