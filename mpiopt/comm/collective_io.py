"""Files and text that rank 0 reads, writes or prints for all ranks, and values of all ranks as JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.comm.errors import decode, encode
from mpiopt.core.files import cause, refuse_device, special_kind
from mpiopt.core.printable import printable


def run_on_root(comm: Comm, work: Callable[[], None]) -> None:
    """Call `work` on rank 0 and raise its OSError or ValueError on all ranks with the same text; collective."""
    error: Exception | None = None
    if comm.rank == 0:
        try:
            work()
        except (OSError, ValueError) as failure:
            error = failure
    comm.agree(decode(comm.broadcast(encode(error))))


def broadcast_text(comm: Comm, text: str) -> str:
    """Return rank 0's text on all ranks; collective."""
    payload = np.frombuffer(text.encode(), np.uint8).copy() if comm.rank == 0 else None
    return comm.broadcast(payload).tobytes().decode()


def text_from_root(comm: Comm, work: Callable[[], str]) -> str:
    """Return what `work` returns on rank 0 on all ranks, or raise its OSError or ValueError there; collective."""
    texts: list[str] = []
    run_on_root(comm, lambda: texts.append(work()))
    return broadcast_text(comm, "".join(texts))


def allgather_json(comm: Comm, value: Any) -> list[Any]:
    """Return the values of all ranks in rank order, each as it comes back from JSON; collective."""
    mine = np.frombuffer(json.dumps(value).encode(), np.uint8).copy()
    return [json.loads(part.tobytes()) for part in comm.allgather(mine)]


def check_writable(path: str | Path, comm: Comm) -> None:
    """Make the folder of the file `path` and try to write there; collective.

    A run calls this before it trains, so that its result can be written at the end.

    Raises
    ------
    OSError
        On all ranks, one line.
    """
    run_on_root(comm, lambda: _try_to_write(Path(path)))


def check_appendable(path: str | Path, comm: Comm) -> None:
    """Make the folder of a log and try to open the log to append, as a device such as /dev/stderr allows; collective.

    Raises
    ------
    OSError
        On all ranks, one line.
    """
    run_on_root(comm, lambda: _try_to_append(Path(path)))


def _try_to_append(path: Path) -> None:
    kind = "a folder" if path.is_dir() else special_kind(path)
    if kind and not str(path).startswith("/dev/"):  # a pipe of the user's may have no reader, and wait for one
        raise OSError(f"cannot write {path}: it is {kind}")
    new = not path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise OSError(f"cannot write {path}: {cause(error)}") from None


def _try_to_write(path: Path) -> None:
    refuse_device(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".partial") as trial:
            trial.write(b"mpiopt")
    except OSError as error:
        raise OSError(f"cannot write {path}: {cause(error)}") from None


def print_on_root(comm: Comm, text: str) -> None:
    """Print on rank 0, with a question mark for each character that the output's encoding lacks.

    Characters that a terminal obeys are printed as numbers: the text may be that of a file.

    A pipe that its reader has closed, as `head` does, is not an error.
    """
    if comm.rank == 0:
        encoding = sys.stdout.encoding or "ascii"
        try:
            print(printable(text).encode(encoding, "replace").decode(encoding), flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again when it exits
