"""From the command line of `train` to its job: data file, job file, flags, and defaults for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import text_from_root
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import Settings, parse
from mpiopt.core.config.job import Job
from mpiopt.core.config.registry import nearest
from mpiopt.core.files import refuse_onto

SUFFIXES = {".gz", ".bz2", ".svm", ".libsvm", ".svmlight", ".txt", ".csv", ".npy", ".npz", ".h5", ".hdf5"}


def agreed_job(words: Sequence[str], comm: Comm) -> Job:
    """Read the job on rank 0 and share its text, so that all ranks have the same job; collective.

    Raises
    ------
    ValueError
        On all ranks, one line: an unknown flag or key, a value out of range, or an unreadable job file.
    """
    return job_file.read(text_from_root(comm, lambda: job_of(words).text()))


def job_text(path: str) -> str:
    """Return the text of a job file; ValueError, one line, if it cannot be read."""
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        near = nearest(Path(path).name, sorted(file.name for file in Path(path).parent.glob("*.toml")))
        raise ValueError(f"{path}: no such file{near}") from None
    except OSError as error:
        raise ValueError(f"{path}: the job file cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: the job file is not text") from None


def job_of(words: Sequence[str]) -> Job:
    """Return the job of a command line: DATA [job.toml] [flags], or a job.toml that has a path."""
    return job_from(*parse(words, job_file.flags()))


def job_from(positional: Sequence[str], settings: Settings) -> Job:
    """Return the job of a parsed command line."""
    files = [w for w in positional if w.endswith(".toml")]
    paths = [w for w in positional if not w.endswith(".toml")]
    if len(files) > 1 or len(paths) > 1:
        raise ValueError(f"train takes one data file and at most one job file, not {' '.join(positional)}")
    text = job_text(files[0]) if files else ""
    job = job_file.read(text, [*(("path", p) for p in paths), *job_file.expand_set(settings)], *files)
    if not job.path:
        raise ValueError("train needs a data file: mpiopt train DATA [job.toml] [flags]")
    out = job.out or result_name(job.path)
    refuse_onto(out, job.path, job.data.test)
    refuse_onto(job.log, job.path, job.data.test, out)
    return replace(job, out=out)


def result_name(path: str) -> str:
    """Return the default name of the result: the stem of the data file and .h5, in the working folder."""
    stem = Path(path.rstrip("/"))
    while stem.suffix in SUFFIXES:
        stem = stem.with_suffix("")
    name = f"{stem.name}.h5"
    return f"{stem.name}-fit.h5" if Path(name).absolute() == Path(path).absolute() else name
