"""What follows a path: how well its model predicts, its summary, and a page about it all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path as FilePath

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Model
from mpiopt.core.files import mark_output, write_whole
from mpiopt.data.dataset import Dataset
from mpiopt.inference.summary import InferenceOptions, Summary, summarise
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.diagnostics import Diagnostics, diagnose
from mpiopt.objective.objective import Objective
from mpiopt.results.html.model import Interval, SummaryShown
from mpiopt.training.outcome import diagnostics
from mpiopt.training.path import Path
from mpiopt.training.path_follow import PathPoint
from mpiopt.training.problem import penalty
from mpiopt.training.ridge_matrix import curvature_of_matrix
from mpiopt.training.summarise import SUFFIXES, content, rates_of

RESULT = ".h5"


@dataclass(frozen=True)
class AnswerOptions:
    """Flags of the command that a job does not have: what is written about the chosen model."""

    summary: str = ""
    page: str = ""

    def __post_init__(self) -> None:
        if self.summary and FilePath(self.summary).suffix not in SUFFIXES:
            raise ValueError(f"--summary {self.summary}: the suffix must be one of {', '.join(SUFFIXES)}")

    @property
    def files(self) -> list[str]:
        """The files to write."""
        return list(filter(None, (self.summary, self.page)))


def diagnostics_of_path(
    data: Dataset, objective: Objective, found: Path, point: PathPoint, comm: Comm
) -> Diagnostics | None:
    """Return how well the model predicts: on test rows, else on the rows of the folds, else on training rows.

    The rows of the folds are predicted by models that have not seen them, at the best strength. Collective.
    """
    validated, shard, far = found.cross_validation, data.shard, data.coordinates.label_origin
    if data.test is not None or validated is None:
        units = ColumnUnits.of(data.mean, data.scale, data.coordinates, shard.intercept)
        return diagnostics(data, objective, units.to_training(point.model, objective.width), comm)
    seen = np.flatnonzero(~np.isnan(validated.margins[:, 0]))
    z, label = validated.margins[seen] + far, shard.label[seen] + far
    words = "the rows of the folds, each by the models that have not seen it, at the best strength"
    return diagnose(objective.loss, z, label, shard.weight[seen], words, comm)


def summary_of_path(data: Dataset, objective: Objective, model: Model, point: PathPoint, comm: Comm) -> Summary:
    """Return the summary of a point, which is a model's optimum, from the rows at hand; collective.

    Raises
    ------
    ValueError
        On all ranks: there is no summary of this model.
    """
    posed = replace(objective, penalty=penalty(point.l1, point.l2))
    units = ColumnUnits.of_dataset(data)
    w = units.to_training(point.model, objective.width)
    rates = rates_of(data.schema)
    matrix = curvature_of_matrix(posed, model, data.names, None, comm)
    told = InferenceOptions()
    return summarise(posed, w, units, Channel(comm, 0), told, names=data.names, rates=rates, matrix=matrix)


def write_answers(asked: AnswerOptions, out: str, found: Summary | None) -> None:
    """Write the summary of a model, and the page about its result file; local."""
    if asked.summary and found is not None:
        write_whole(FilePath(asked.summary), content(found, FilePath(asked.summary).suffix).encode())
        mark_output(FilePath(asked.summary), "path")
    if asked.page:
        from mpiopt.results.html.report import page

        shown = None if found is None else SummaryShown(intervals(found), found.text())
        write_whole(FilePath(asked.page), page([out], known=shown).text().encode())
        mark_output(FilePath(asked.page), "path")


def intervals(found: Summary) -> dict[str, Interval]:
    """Return the interval of each coefficient by its name."""
    ends = found.intervals
    return {name: Interval(float(low), float(high)) for name, (low, high) in zip(found.names, ends, strict=True)}
