"""The note of how a job ended: what `mpiopt launch` believes, since an mpirun's exit code may be anything."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "MPIOPT_ENDED"  # names the file; set by the launcher
STARTED = "started"  # a file beside it
LAUNCHED = "MPIOPT_LAUNCHED"  # when the job's first life began, seconds since 1970; set by the launcher


def note_end(environment: Mapping[str, str], code: int) -> None:
    """Write the job's exit code where the launcher looks for it, if there is one; one rank calls this, at the end."""
    path = environment.get(VARIABLE)
    if not path:
        return
    fresh = f"{path}.{os.getpid()}"
    try:
        Path(fresh).write_text(f"{code}\n")
        os.replace(fresh, path)
    except OSError:  # the launcher will start the job again, which then finds nothing left to do
        return


def note_start(environment: Mapping[str, str]) -> None:
    """Let the launcher know that MPI has started on all ranks; with ULFM they see to lost ones from now on."""
    path = environment.get(VARIABLE)
    if path:
        with contextlib.suppress(OSError):
            Path(path).with_name(STARTED).touch()


def read_end(path: str | Path) -> int | None:
    """Give the exit code that was noted, None where there is no note."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
