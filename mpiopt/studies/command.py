"""The command `study`: read a job file, run its study, report what was found."""

from __future__ import annotations

import importlib
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.registry import nearest
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.job_args import job_text

USAGE = "study takes one job file: mpiopt study JOB.toml"
STUDIES = {
    "saga-facts": "mpiopt.studies.saga_facts",
    "compression": "mpiopt.studies.compression",
    "stepsize": "mpiopt.studies.stepsize",
    "decentralised": "mpiopt.studies.decentralised",
    "failure": "mpiopt.studies.failure",
}
DEFAULT_STUDY = "saga-facts"  # the study of a job file that names none


class StudyRun(NamedTuple):
    """A job file that was read."""

    study: str  # key of STUDIES
    job: Any  # the study's own dataclass

    def function(self, module: str, name: str) -> Callable[..., Any]:
        """Import a module of the study and return one of its functions."""
        found: Callable[..., Any] = getattr(importlib.import_module(f"{STUDIES[self.study]}.{module}"), name)
        return found


def study(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Run a study whose cells are dealt to the ranks, and return the exit code; it does not depend on the verdicts.

    After a signal, the cells that were finished are reported and written.
    """
    chosen, error = None, None
    try:
        if len(words) != 1 or words[0].startswith("-"):
            raise ValueError(USAGE)
        chosen = read(words[0])
    except (ValueError, OSError) as failure:
        error = failure
    comm.agree(error)
    if chosen is None:
        return 1
    began = time.perf_counter()
    outcomes = chosen.function("simulation", "run")(chosen.job, comm, stop)
    stop.agreed(Channel(comm))
    if comm.rank == 0:
        error = publish(chosen, outcomes, began)
    comm.agree(error)
    return stop.exit_code


def publish(chosen: StudyRun, outcomes: Sequence[Any], began: float) -> OSError | None:
    """Print and write the report; return the error if a file could not be written."""
    if not outcomes:
        print("no cell was run")
        return None
    try:
        report = chosen.function("report", "report")(chosen.job, outcomes)
        print(f"\n{report.text}\n")
        written = report.write(chosen.job.out, chosen.study)
        print(f"{time.perf_counter() - began:.0f} s; written: {', '.join(written)}")
    except OSError as error:
        return error
    return None


def read(path: str | Path) -> StudyRun:
    """Read a job file.

    Raises
    ------
    ValueError
        If the file cannot be read, a key is unknown, or a value is out of its range.
    """
    text = job_text(str(path))
    try:
        tree = tomllib.loads(text)
        name = tree.pop("study", DEFAULT_STUDY)
        if name not in STUDIES:
            raise ValueError(f"unknown study {name!r}{nearest(str(name), STUDIES)}; known: {', '.join(STUDIES)}")
        chosen = StudyRun(name, None)
        return chosen._replace(job=chosen.function("job", "build")(tree))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
