"""The command `study`: read the job, find its kind, run it, show what was found."""

from __future__ import annotations

import importlib
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.registry import nearest
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.job_args import job_text

USAGE = "study takes one job file: mpiopt study JOB.toml"
KINDS = {
    "saga-facts": "mpiopt.studies.saga_facts.study",
    "compression": "mpiopt.studies.compression.study",
    "stepsize": "mpiopt.studies.stepsize.study",
    "decentralised": "mpiopt.studies.decentralised.study",
    "failure": "mpiopt.studies.failure.study",
}
FIRST = "saga-facts"  # of job files that name no kind


def study(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Run a study; its parts are dealt to the ranks. Exit code 0 whatever the verdicts say.

    After a signal what was done so far is shown and written.
    """
    read_, error = None, None
    try:
        read_ = job_of(words)
    except (ValueError, OSError) as failure:
        error = failure
    comm.agree(error)
    if read_ is None:
        return 1
    kind, job = read_
    began = time.perf_counter()
    found = kind.run(job, comm, stop)
    stop.agreed(Channel(comm))
    if comm.rank == 0:
        error = show(kind, job, found, began)
    comm.agree(error)
    return stop.exit_code


def show(kind: Any, job: Any, found: Any, began: float) -> OSError | None:
    """Print and write what was found; give the error where a file could not be written."""
    try:
        print(f"{time.perf_counter() - began:.0f} s; written: {', '.join(kind.show(job, found))}")
    except OSError as error:
        return error
    return None


def job_of(words: Sequence[str]) -> tuple[Any, Any]:
    """Read the job file that is named."""
    if len(words) != 1 or words[0].startswith("-"):
        raise ValueError(USAGE)
    return read(words[0])


def read(path: str | Path) -> tuple[Any, Any]:
    """Give the module of the job's kind, and the job.

    Raises
    ------
    ValueError
        If the file cannot be read, a key is unknown, or a value is out of its range.
    """
    text = job_text(str(path))
    try:
        tree = tomllib.loads(text)
        name = tree.pop("study", FIRST)
        if name not in KINDS:
            raise ValueError(f"unknown study {name!r}{nearest(str(name), KINDS)}; known: {', '.join(KINDS)}")
        kind = importlib.import_module(KINDS[name])
        return kind, kind.build(tree)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
