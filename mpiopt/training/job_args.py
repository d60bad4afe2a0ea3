"""From the command line of `train` to its job: data file, job file, flags, and defaults for the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import text_from_root
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import Settings, parse
from mpiopt.core.config.job import Job
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec
from mpiopt.core.files import refuse_onto, refuse_special
from mpiopt.core.hdf5 import RESULT
from mpiopt.data.formats.compressed_stream import SUFFIXES as PACKED
from mpiopt.data.formats.synthetic import PREFIX
from mpiopt.data.tables.files import SUFFIXES as TABLES
from mpiopt.data.tables.files import are_parts, is_several, joined
from mpiopt.results.contents import contents

SUFFIXES = {".svm", ".libsvm", ".svmlight", ".txt", ".npy", ".npz", ".h5", ".hdf5", *PACKED, *TABLES}
SUBSTITUTED = ("/dev/fd/", "/proc/self/fd/")  # where a shell puts the output of <(command), which ends


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
    if not path.startswith(SUBSTITUTED):
        refuse_special(path)
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
    if len(files) > 1 or (len(paths) > 1 and not are_parts(paths)):
        raise ValueError(f"train takes one data file and at most one job file, not {' '.join(positional)}")
    text = job_text(files[0]) if files else ""
    given = [("path", joined(paths))] if paths else []
    job = job_file.read(text, [*given, *job_file.expand_set(settings)], *files)
    if job.data.columns.exposure and job.model.loss.name == "auto":
        job = replace(job, model=replace(job.model, loss=PluginSpec("poisson")))
    if not job.path:
        raise ValueError("train needs a data file: mpiopt train DATA [job.toml] [flags]")
    out = job.out or result_name(job.path)
    refuse_onto(out, job.path, job.data.test)
    refuse_onto(job.log, job.path, job.data.test, out)
    return replace(job, out=out)


def result_name(path: str) -> str:
    """Return the default name of the result: the stem of the data file and .h5, in the working folder.

    If there is a file of that name that is no result, such as the converted data, it is the stem and -fit.h5.
    """
    name = f"{stem(path)}.h5"
    return f"{stem(path)}-fit.h5" if Path(name).exists() and not is_result(name) else name


def stem(path: str) -> str:
    """Return the name of a data file without folder and suffixes; of a recipe, a plain name with its options."""
    if is_several(path) and "," in path:
        path = path.split(",")[0]
    if path.startswith(PREFIX):
        options = [re.sub(r"[^A-Za-z0-9.+-]", "", option) for option in path.removeprefix(PREFIX).split(",")]
        return "-".join(["generate", *filter(None, options)])
    name = Path(path.rstrip("/"))
    while name.suffix in SUFFIXES:
        name = name.with_suffix("")
    return re.sub(r"[*?\[\]]", "", name.name).strip("-_.") or "table"


def is_result(path: str) -> bool:
    """Return whether a file is a result of a run."""
    try:
        return contents(path).kind == RESULT
    except ValueError:
        return False
