"""What the members of a sweep have left behind: results and scores of folds, and whether they still hold."""

from __future__ import annotations

import os
from pathlib import Path

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import run_on_root, text_from_root
from mpiopt.core.config import job_file
from mpiopt.core.config.folds import FoldOptions
from mpiopt.core.config.job import Job
from mpiopt.core.files import OVERWRITE
from mpiopt.data.tables.files import table_of
from mpiopt.results.fold_scores import FoldScores, scores_of
from mpiopt.results.result_file import Result, read_result
from mpiopt.training.job_args import is_result


def is_finished(job: Job, comm: Comm) -> bool:
    """Return, on all ranks, whether the certified result of a job on these rows exists; collective.

    Raises
    ------
    ValueError
        On all ranks: the file is the result of another job, or of other data.
    """

    def certified() -> str:
        result = result_of(job)
        whole = result is not None and result.provenance.get("exit_status") == 0 and within_tolerance(result, job)
        return str(result.provenance["data_checksum"]) if result is not None and whole else ""

    known = text_from_root(comm, certified)
    newer = text_from_root(comm, lambda: newer_data(job))
    if not (known and newer):
        return bool(known)
    from mpiopt.data.dataset import prepare
    from mpiopt.objective.losses.base import loss_targets
    from mpiopt.training.problem import link_of, target_of

    data = prepare(job.path, target_of(job.model), job.data, job.seed, comm, loss_targets(), link_of(job.model))
    if data.checksum == known:
        run_on_root(comm, lambda: os.utime(job.out))  # so that the rows are not read for this again
        return True
    if job.overwrite:
        return False
    raise ValueError(
        f"{job.out} is the result of other rows: {newer} has changed since (checksum {data.checksum}, not {known}); "
        f"remove it, change `out` of the sweep, or {OVERWRITE}"
    )


def newer_data(job: Job) -> str:
    """Return the first data file of a job that was written or moved there after its result; "" without one."""
    if job.path.startswith("generate:") or not Path(job.out).exists():
        return ""
    written = os.stat(job.out).st_mtime_ns
    for name in table_of(job.path).paths:
        found = os.stat(name)  # a copy may keep the time of its content, but not that of its inode
        if max(found.st_mtime_ns, found.st_ctime_ns) > written:
            return name
    return ""


def stored_scores(job: Job, folds: FoldOptions) -> FoldScores | None:
    """Return the scores of the folds of the result of a job; None without those of its rows."""
    if not folds.folds:
        return None
    try:
        result = result_of(job)
    except ValueError:
        return None
    return None if result is None else scores_of(job, folds, str(result.provenance["data_checksum"]))


def is_scored(job: Job, folds: FoldOptions, comm: Comm) -> bool:
    """Return, on all ranks, whether the certified scores of the folds of a job exist; collective."""

    def scored() -> str:
        found = stored_scores(job, folds)
        return "yes" if found is not None and found.certified else ""

    return bool(text_from_root(comm, scored))


def result_of(job: Job) -> Result | None:
    """Return the result of a job, certified or not; None if there is no file, or one that it may write over.

    Raises
    ------
    ValueError
        If the file is the result of another job.
    """
    if not Path(job.out).exists() or (job.overwrite and not is_result(job.out)):
        return None
    result = read_result(job.out)
    stored = job_file.read(result.job)
    if (stored.identity(), stored.path) == (job.identity(), job.path):
        return result
    if job.overwrite:
        return None
    raise ValueError(f"{job.out} is the result of another job; remove it, change `out` of the sweep, or {OVERWRITE}")


def within_tolerance(result: Result, job: Job) -> bool:
    """Return whether the certificate of a result is as small as the job wants."""
    return float(result.provenance["certificate"]) <= job.stop.tol
