"""A file with the exit code of a job, which `mpiopt launch` trusts: the exit code of an mpirun may be anything."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "MPIOPT_ENDED"  # environment variable with the path of the file; set by the launcher
STARTED = "started"  # name of a file in the same folder
LAUNCHED = "MPIOPT_LAUNCHED"  # when the job was first started, seconds since 1970; set by the launcher


def note_end(environment: Mapping[str, str], code: int) -> None:
    """Write the job's exit code for the launcher, if there is one; one rank calls this, at the end."""
    path = environment.get(VARIABLE)
    if not path:
        return
    fresh = f"{path}.{os.getpid()}"
    try:
        Path(fresh).write_text(f"{code}\n")
        os.replace(fresh, path)
    except OSError:  # the launcher then starts the job again, which finds nothing left to do
        return


def note_start(environment: Mapping[str, str]) -> None:
    """Tell the launcher that MPI has started on all ranks; with ULFM they recover from lost ranks from now on."""
    path = environment.get(VARIABLE)
    if path:
        with contextlib.suppress(OSError):
            Path(path).with_name(STARTED).touch()


def read_end(path: str | Path) -> int | None:
    """Return the exit code in the file, None if there is none."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
