"""The question of a batch script after a rank was killed: was a checkpoint saved since the script started?

`python -m mpiopt.cluster.slurm.requeue SECONDS JOB.toml [flags]` ends with 0 if the newest checkpoint of the job is
from that time (seconds since 1970) or later: another start continues from it. Otherwise it ends with 1, because the
next start would be killed at the same place.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mpiopt.cluster.sweep import FLAGS, sweep_of
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job import Job
from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.training.job_args import job_of


def saved_since(seconds: float, words: Sequence[str]) -> bool:
    """Return whether any job that the words of `train` or `sweep` name was saved at `seconds` since 1970 or later."""
    return any(last_saved(job) >= seconds for job in jobs(words))


def jobs(words: Sequence[str]) -> list[Job]:
    """Return the job; of a sweep, those that run in this script."""
    grid = sweep_of(words)
    if grid is None:
        return [job_of(words)]
    _, settings = parse(words, {**job_file.flags(), **FLAGS})
    return [member.job for member in grid.selected(dict(settings).get("task"))]


def last_saved(job: Job) -> float:
    """Return the time of the newest complete checkpoint, in seconds since 1970; 0 if there is none."""
    folder = CheckpointFolder(Path(job.out).with_suffix(".ckpt"))
    return max((folder.path(number).stat().st_mtime for number in folder.committed()), default=0.0)


if __name__ == "__main__":
    try:
        sys.exit(0 if saved_since(float(sys.argv[1]), sys.argv[2:]) else 1)
    except (ValueError, OSError, IndexError) as error:
        sys.exit(f"requeue: {error}")
