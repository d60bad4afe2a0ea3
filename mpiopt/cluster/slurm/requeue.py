"""What a batch script asks where the system has killed a rank: was anything saved since the script's start?

`python -m mpiopt.cluster.slurm.requeue SECONDS JOB.toml [flags]` ends with 0 if a checkpoint of the job was put in
place after
that time (seconds since 1970), so that another start goes on from there; else with 1: it would be killed there again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mpiopt.cluster import sweep
from mpiopt.cluster.sweep import picked
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job import Job
from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.training.job_args import job_of


def saved_since(seconds: float, words: Sequence[str]) -> bool:
    """Say whether any of the jobs that words for `train` or `sweep` name was saved at this time or later."""
    return any(newest(job) >= seconds for job in jobs(words))


def jobs(words: Sequence[str]) -> list[Job]:
    """Give the job, or those of a sweep that are run here."""
    whole = sweep.found(words)
    if whole is None:
        return [job_of(words)]
    _, settings = parse(words, {**job_file.flags(), **sweep.OURS})
    return [member.job for member in picked(whole, dict(settings).get("task"))]


def newest(job: Job) -> float:
    """Give when the newest checkpoint was put in place, in seconds since 1970; 0 where there is none."""
    slots = CheckpointFolder(Path(job.out).with_suffix(".ckpt"))
    return max((slots.path(number).stat().st_mtime for number in slots.committed()), default=0.0)


if __name__ == "__main__":
    try:
        sys.exit(0 if saved_since(float(sys.argv[1]), sys.argv[2:]) else 1)
    except (ValueError, OSError, IndexError) as error:
        sys.exit(f"saved: {error}")
