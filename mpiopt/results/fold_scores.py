"""The cross-validated scores of one model, in a file beside its result."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.core.config.folds import FoldOptions
from mpiopt.core.config.job import Job
from mpiopt.core.files import write_whole
from mpiopt.results.path_table import standard_error

LARGER_IS_BETTER = {"accuracy": True, "AUC": True, "average precision": True, "R²": True, "deviance explained": True}
SUFFIX = ".folds"  # of the file beside the result


@dataclass(frozen=True)
class FoldScores:
    """The scores of one model on rows that were held out.

    Attributes
    ----------
    score : str
        What they are: "deviance" or a metric.
    scores, share : tuple of float
        The score of each fold, repeat by repeat, and the share of the weight that it holds out.
    repeats : int
        How often the rows were dealt to folds.
    certified : bool
        Whether the fit without each fold is certified.
    epochs : float
        Passes over all rows that these fits took.
    """

    score: str
    scores: tuple[float, ...]
    share: tuple[float, ...]
    repeats: int
    certified: bool
    epochs: float

    @property
    def mean(self) -> float:
        """The mean score over the folds."""
        return float(np.dot(self.scores, self.share))

    @property
    def error(self) -> float:
        """The standard error of that mean."""
        return float(standard_error(np.array([self.scores]), np.array(self.share), self.repeats)[0])

    @property
    def loss(self) -> float:
        """The mean with its sign such that less is better."""
        return -self.mean if LARGER_IS_BETTER.get(self.score) else self.mean


def scores_of(job: Job, asked: FoldOptions, checksum: str) -> FoldScores | None:
    """Return the scores that are stored beside the result of a job; None without those of the job, folds and data."""
    try:
        kept: dict[str, Any] = json.loads(_place(job).read_text())
        if kept.pop("identity") != _identity(job, asked, checksum):
            return None
        lists: dict[str, Any] = {name: tuple(kept.pop(name)) for name in ("scores", "share")}
        return FoldScores(**kept, **lists)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or cut: they are computed again
        return None


def write_scores(found: FoldScores, job: Job, asked: FoldOptions, checksum: str) -> None:
    """Write scores beside the result of a job on data of this checksum, all or nothing; local."""
    write_whole(_place(job), json.dumps({"identity": _identity(job, asked, checksum), **asdict(found)}).encode())


def _place(job: Job) -> Path:
    return Path(job.out).with_suffix(SUFFIX)


def _identity(job: Job, asked: FoldOptions, checksum: str) -> str:
    """Return what the scores depend on; of a file of groups or times also its content."""
    files = [Path(name) for name in (asked.groups, asked.time) if name and Path(name).is_file()]
    content = [zlib.crc32(file.read_bytes()) for file in files]
    return json.dumps([job.identity(), job.path, job.stop.tol, repr(asked), content, checksum])
