"""The flags of folds of `path` and the keys of a sweep: which rows are held out, and which score counts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpiopt.core.config.job import Job
from mpiopt.core.config.registry import nearest

DEVIANCE = "deviance"
CHOICES = ("best", "simplest", "last")
NUMBERS = ("RMSE", "MAE", "R²")  # scores of predictions that are numbers
CLASSES = {
    "binary": ("log loss", "accuracy", "AUC", "average precision", "Brier"),
    "multiclass": ("log loss", "accuracy", "Brier"),
}  # scores by the target of the loss
ROWS = "rows"  # as a time: the order of the rows in the file


@dataclass(frozen=True)
class FoldOptions:
    """Flags of the command that a job does not have: folds, and which point becomes the model."""

    folds: int = 0
    repeats: int = 1
    groups: str = ""
    time: str = ""
    score: str = DEVIANCE
    choose: str = ""
    oof: str = ""

    def __post_init__(self) -> None:
        if self.choose not in ("", *CHOICES):
            raise ValueError(f"choose must be one of {', '.join(CHOICES)}; not {self.choose!r}")
        object.__setattr__(self, "score", score_named(self.score))
        given = [name for name in ("groups", "time", "oof") if getattr(self, name)]
        given += ["score"] if self.score != DEVIANCE else []
        without = "" if self.folds or not given else given[0]
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


def score_named(text: str) -> str:
    """Return the score of a name as people type it: auc, log-loss, r2; ValueError if there is none.

    Examples
    --------
    >>> score_named("auc"), score_named("log-loss"), score_named("r2")
    ('AUC', 'log loss', 'R²')
    """
    typed = text.lower().replace("-", " ").replace("_", " ").replace("r2", "r²")
    score = next((name for name in (DEVIANCE, *CLASSES["binary"], *NUMBERS) if name.lower() == typed), text)
    check_score(score)
    return score


def check_score(score: str, target: str = "auto") -> None:
    """Raise ValueError unless a score is one of a loss with this target; "auto": of some loss."""
    every = tuple(dict.fromkeys([*CLASSES["binary"], *NUMBERS]))
    known = every if target == "auto" else CLASSES.get(target, NUMBERS)
    if score not in (DEVIANCE, *known):
        raise ValueError(f"the score must be deviance, {', '.join(known)}; not {score!r}{nearest(score, known)}")


def refuse_beside_time(groups: bool, repeats: int) -> None:
    """Raise ValueError if folds by time are to be repeated, or to keep groups together."""
    if groups or repeats != 1:
        raise ValueError(f"folds by time take no {'groups' if groups else 'repeats'}: there is one order of the rows")
