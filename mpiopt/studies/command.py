"""The command `study`: read a job file, run its study, report what was found."""

from __future__ import annotations

import importlib
import json
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import run_on_root
from mpiopt.compress.channel import Channel
from mpiopt.core.config.flags import parse
from mpiopt.core.config.registry import nearest
from mpiopt.core.files import refuse_existing
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies import storage
from mpiopt.studies.report import SUFFIXES
from mpiopt.studies.verdicts import over_seeds
from mpiopt.training.job_args import job_text

USAGE = "study takes one job file: mpiopt study JOB.toml [--overwrite]"
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
    settings: str = ""  # the job file's keys as JSON

    def function(self, module: str, name: str) -> Callable[..., Any]:
        """Import a module of the study and return one of its functions."""
        function: Callable[..., Any] = getattr(importlib.import_module(f"{STUDIES[self.study]}.{module}"), name)
        return function


def study(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Run a study whose cells are dealt to the ranks, and return the exit code; it does not depend on the verdicts.

    After a signal, the cells that were finished are reported and written.
    """
    with comm.agree_on_errors():
        paths, flags = parse(words, {"overwrite": False})
        if len(paths) != 1:
            raise ValueError(USAGE)
        chosen = read(paths[0])
        if not flags:
            refuse_others_files(chosen)
    began = time.perf_counter()
    runs: dict[int, tuple[Any, Sequence[Any]]] = {}
    for seed in seeds_of(chosen.job):
        job = replace(chosen.job, seed=seed) if hasattr(chosen.job, "seeds") else chosen.job
        outcomes = chosen.function("simulation", "run")(job, comm, stop)
        stop.agreed(Channel(comm))
        if outcomes and (not stop.level or not runs):
            runs[seed] = (job, outcomes)
    run_on_root(comm, lambda: publish(chosen, runs, began))
    return stop.exit_code


def seeds_of(job: Any) -> Sequence[int]:
    """Return the seeds with which a study runs all its cells: its list `seeds`, or its one seed.

    Raises
    ------
    ValueError
        If they are not different whole numbers of at least 0.
    """
    given = tuple(getattr(job, "seeds", ()))
    if len({one for one in given if one >= 0 and float(one).is_integer()}) < len(given):
        raise ValueError(f"seeds must be different whole numbers of at least 0, not {list(given)}")
    return tuple(map(int, given)) or (getattr(job, "seed", 0),)


def publish(chosen: StudyRun, runs: Mapping[int, tuple[Any, Sequence[Any]]], began: float) -> None:
    """Print and write the report: tables and charts of the first seed, verdicts over all.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    if not runs:
        print("no cell was run")
        return
    reports = {seed: chosen.function("report", "report")(job, outcomes) for seed, (job, outcomes) in runs.items()}
    report = replace(next(iter(reports.values())), facts=over_seeds({s: one.facts for s, one in reports.items()}))
    print(f"\n{report.text}\n")
    written = report.write(chosen.job.out, chosen.study, chosen.settings)
    print(f"{time.perf_counter() - began:.0f} s; written: {', '.join(written)}")


def refuse_others_files(chosen: StudyRun) -> None:
    """Raise ValueError if a file that the study would write exists, unless the same job has written it."""
    out = chosen.job.out
    if not storage.is_study(f"{out}.h5", chosen.study, chosen.settings):
        for suffix in SUFFIXES:
            refuse_existing(out + suffix, overwrite=False)


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
        chosen = StudyRun(name, None, json.dumps(tree, sort_keys=True, default=str))
        chosen = chosen._replace(job=chosen.function("job", "build")(tree))
        seeds_of(chosen.job)
        return chosen
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
