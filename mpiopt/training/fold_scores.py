"""The cross-validated score of one job: its model is fitted without each fold, and scored on the rows held out."""

from __future__ import annotations

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import run_on_root
from mpiopt.compress.channel import Channel
from mpiopt.core.config.folds import FoldOptions
from mpiopt.core.config.job import Job
from mpiopt.core.history import Clock
from mpiopt.data.dataset import prepare
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.losses.base import loss_targets
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.fold_scores import FoldScores, write_scores
from mpiopt.training.cross_validation import FoldModels, cross_validate
from mpiopt.training.fold_options import folds_of_file, read_labels
from mpiopt.training.label_origin import posed_data
from mpiopt.training.loop import run
from mpiopt.training.problem import link_of, pick, target_of
from mpiopt.training.run_state import RunPlan
from mpiopt.training.structure import structured


def score_folds(job: Job, asked: FoldOptions, comm: Comm, stop: StopSignal) -> int:
    """Fit the model of a job without each fold, and store the scores beside its result; return the exit code.

    Raises
    ------
    ValueError
        On all ranks: the rows cannot be divided so, or there is no such score.
    """
    labels = read_labels(job, asked, comm)
    data = prepare(job.path, target_of(job.model), job.data, job.seed, comm, loss_targets(), link_of(job.model))
    data, objective = posed_data(job, job.model, data, comm)
    if objective.loss.own_parameters:
        raise ValueError("folds take a theta that is given; estimate it by a fit without folds, profile=true")
    units = ColumnUnits.of_dataset(data)
    objective, basis = structured(objective, job.model, units, data.names, comm)
    objective = objective if basis is None else basis.posed
    folds, channel = folds_of_file(job, asked, labels, objective, comm), Channel(comm, 0)

    def fitted(number: int, posed: Objective) -> FoldModels:
        portfolio, _ = pick(job.algorithm, posed, job.stop.tol, comm)
        now = run(RunPlan(job.stop), posed, portfolio, channel, stop, Clock(), lambda row: None)
        if now.ending == "signal":
            raise _Stopped
        return FoldModels.of([now.state.w], now.ending == "certified", now.epochs)

    try:
        found = cross_validate(objective, folds, np.zeros(1), asked.score, fitted, comm)
    except _Stopped:
        return stop.exit_code
    scores = FoldScores(
        found.score,
        tuple(found.scores[0].tolist()),
        tuple(found.share.tolist()),
        folds.repeats,
        found.certified,
        found.epochs,
    )
    run_on_root(comm, lambda: write_scores(scores, job, asked, data.checksum))
    return 0 if found.certified else 3


class _Stopped(Exception):
    """A signal ended a fit; on all ranks."""
