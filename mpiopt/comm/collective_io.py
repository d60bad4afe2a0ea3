"""Text that one rank makes and all have.

Printing on rank 0.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.files import cause


def shared_text(comm: Comm, work: Callable[[], str]) -> str:
    """Give what `work` gives on rank 0, on all ranks; collective.

    Raises
    ------
    ValueError
        On all ranks, with the words of the ValueError or OSError that `work` raised.
    """
    told = {"text": "", "error": ""}
    if comm.rank == 0:
        try:
            told["text"] = work()
        except (ValueError, OSError) as failure:
            told["error"] = str(failure)
    shared = json.loads(comm.broadcast(np.frombuffer(json.dumps(told).encode(), np.uint8)).tobytes())
    if shared["error"]:
        raise ValueError(shared["error"])
    return str(shared["text"])


def check_writable(path: str | Path, comm: Comm) -> None:
    """Make the folder of the file `path` and try to write there; collective.

    Raises
    ------
    OSError
        On all ranks, one line: called before the training, so that no result is lost after it.
    """
    on_first(comm, lambda: _try_to_write(Path(path)))


def on_first(comm: Comm, work: Callable[[], None]) -> None:
    """Do `work` on rank 0 and raise its OSError or ValueError on all ranks, with the same words."""
    failed, text = 0, b""
    if comm.rank == 0:
        try:
            work()
        except (OSError, ValueError) as error:
            failed, text = (1 if isinstance(error, OSError) else 2), str(error).encode()
    message = comm.broadcast(np.frombuffer(bytes([failed]) + text, np.uint8).copy())
    words = message[1:].tobytes().decode()
    comm.agree({0: None, 1: OSError(words), 2: ValueError(words)}[int(message[0])])


def share_text(comm: Comm, text: str) -> str:
    """Give rank 0's text on all ranks."""
    wire = np.frombuffer(text.encode(), np.uint8).copy() if comm.rank == 0 else None
    return comm.broadcast(wire).tobytes().decode()


def _try_to_write(path: Path) -> None:
    if path.is_dir():
        raise OSError(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".partial") as trial:
            trial.write(b"mpiopt")
    except OSError as error:
        raise OSError(f"cannot write {path}: {cause(error)}") from None


def print_on_root(comm: Comm, text: str) -> None:
    """Print on rank 0; what the output's encoding does not know becomes a question mark.

    A reader who has seen enough, as `head` has, is no error.
    """
    if comm.rank == 0:
        encoding = sys.stdout.encoding or "ascii"
        try:
            print(text.encode(encoding, "replace").decode(encoding), flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again at its end
