"""What a run may write over: its own result, checkpoints and log, of an earlier start of the same job.

A job is the same if its checkpoints could continue it: the same rows, model, algorithm and exchange. Tolerance,
budgets and names of files may differ. Anything else that lies where a run wants to write stays, unless the job says
`overwrite`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import run_on_root
from mpiopt.core.config import job_file
from mpiopt.core.config.job import Job
from mpiopt.core.exit_note import LAUNCHED
from mpiopt.core.files import OVERWRITE
from mpiopt.core.hdf5 import RESULT
from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.resilience.checkpoint.header import difference
from mpiopt.results.contents import contents, read_head
from mpiopt.results.result_file import read_result
from mpiopt.training import ridge_matrix


def identity(job: Job, checksum: str) -> str:
    """Return the text of what all starts of a job share, as its checkpoints hold it."""
    matrix = ridge_matrix.checksum(job.model)
    return f'data_checksum = "{checksum}"\n' + f'ridge_matrix_checksum = "{matrix}"\n' * bool(matrix) + job.identity()


def refuse_others_result(job: Job, comm: Comm, checksum: str = "") -> None:
    """Raise ValueError if there is a file in place of the result that is no result of this job; collective.

    Without a checksum, before the rows are read, all but the data is compared. A job that continues from checkpoints
    is compared with those first, by `refuse_others_files`.
    """
    continues = bool(job.resume) and Path(job.out).with_suffix(".ckpt").is_dir()
    if not job.overwrite and not continues:
        run_on_root(comm, lambda: _refuse_result(job, checksum))


def refuse_others_files(job: Job, folder: Path, comm: Comm, checksum: str) -> None:
    """Raise ValueError if result, log, or checkpoints in the folder are of another job; collective."""
    if not job.overwrite:
        run_on_root(comm, lambda: _refuse_files(job, folder, checksum))


def _refuse_result(job: Job, checksum: str) -> None:
    place = Path(job.out)
    if not place.is_file():  # a folder or a device is refused as one that cannot be written
        return
    try:
        found = contents(place).kind
    except ValueError:
        found = ""
    if found != RESULT:
        raise ValueError(f"{place}: exists and is no result of mpiopt; choose another --out, or {OVERWRITE}")
    result = read_result(place)
    try:
        stored = job_file.read(result.job)
    except ValueError:  # of a version with other keys
        raise ValueError(f"{place}: is the result of another job; choose another --out, or {OVERWRITE}") from None
    theirs = str(result.provenance.get("data_checksum", "")) if checksum else ""
    _refuse(f"{place}: is the result", identity(job, checksum), identity(stored, theirs))


def _refuse_files(job: Job, folder: Path, checksum: str) -> None:
    own = Path(job.out).is_file()  # a result of this job, if it is not refused
    files = CheckpointFolder(folder)
    for number in files.committed():
        try:
            text = str(read_head(files.path(number)).meta.get("job", ""))
        except ValueError:  # damaged
            continue
        _refuse(f"{folder}: has checkpoints", identity(job, checksum), text)
        own = True
        break
    _refuse_result(job, checksum)
    if job.log:
        _refuse_log(Path(job.log), own, bool(job.resume))


def _refuse(what: str, ours: str, theirs: str) -> None:
    found = difference(ours, theirs)
    if found:
        raise ValueError(f"{what} of another job: {found}; choose another --out, or {OVERWRITE}")


def _refuse_log(place: Path, own: bool, appends: bool) -> None:
    """Raise ValueError unless the log is empty, or one that this job continues or has written."""
    if not place.exists() or place.stat().st_size == 0:
        return
    launched = float(os.environ.get(LAUNCHED, "inf"))  # `mpiopt launch` starts a job again after a loss
    if _is_log(place) and (own or appends or place.stat().st_mtime >= launched):
        return
    raise ValueError(f"{place}: exists and is not the log of this job; choose another --log, or {OVERWRITE}")


def _is_log(place: Path) -> bool:
    try:
        with place.open(encoding="utf-8") as file:
            row = json.loads(file.readline())
    except (OSError, ValueError):
        return False
    return isinstance(row, dict) and {"round", "epoch", "objective"} <= row.keys()
