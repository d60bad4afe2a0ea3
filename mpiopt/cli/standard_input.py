"""Standard input as a data file: data are read more than once, so that it is copied into a temporary file first.

It is refused under a launcher: Open MPI 5's mpirun does not pass the end of a pipe on to a reader that begins late,
which then waits for ever.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mpiopt.comm.base import Comm
from mpiopt.core.config.flags import SHORT
from mpiopt.core.config.job_file import SWITCHES
from mpiopt.core.launcher_env import launched

INPUT = "-"  # what stands for it on the command line
NAME = "stdin"  # of the copy; a result gets its name from it
TAKEN_BY = ("train", "path", "predict", "describe", "convert")  # commands that read data


@contextlib.contextmanager
def input_as_file(words: Sequence[str], comm: Comm) -> Iterator[Sequence[str]]:
    """Give the words of a command with the path of a copy of standard input in the place of `-`.

    The copy, in the folder TMPDIR or /tmp, is deleted at the end.

    Raises
    ------
    ValueError
        If there are several ranks, or a launcher, or nobody writes to standard input.
    """
    at = _place(words)
    if at < 0:
        yield words
        return
    if comm.size > 1:
        raise ValueError(f"{INPUT}: standard input is read by one rank; for more, write it into a file: cat > FILE")
    found = launched(os.environ)
    if found is not None and found.launcher != "Slurm":  # a batch script without a launcher of its own may use it
        raise ValueError(
            f"{INPUT}: {found.launcher} may lose the end of standard input; start mpiopt without it, or give a file"
        )
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise ValueError(f"{INPUT}: standard input is not connected to a file or a pipe; give a file")
    with tempfile.TemporaryDirectory(prefix="mpiopt-") as folder:
        copy = Path(folder, NAME)
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield [*words[:at], str(copy), *words[at + 1 :]]


def _place(words: Sequence[str]) -> int:
    """Return the place of `-` as a data file, -1 without one; behind a flag that takes a value it is that."""
    if words[0] not in TAKEN_BY:
        return -1
    found = (i for i in range(1, len(words)) if words[i] == INPUT and not _takes_value(words[i - 1]))
    return next(found, -1)


def _takes_value(word: str) -> bool:
    name = SHORT.get(word, word)
    return name.lstrip("-") not in ("", *SWITCHES) and name.startswith("--") and "=" not in name
