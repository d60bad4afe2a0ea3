"""The commands: dispatch, one line for a user's error, exit codes."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence

from mpiopt import __version__
from mpiopt.cli.help import usage
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.commands import COMMANDS, from_outside
from mpiopt.core.config.registry import nearest
from mpiopt.core.launcher_env import refuse_mismatch
from mpiopt.resilience.signals import StopSignal


def run(words: Sequence[str], comm: Comm, stop: StopSignal, library: str = "") -> int:
    """Run one command on this rank; give the exit code.

    0 certified or done, 2 user error, 3 budget spent, 75, 130 and 143 stopped by a signal, 76 ranks lost. Whatever
    else is raised is our fault and is left to end all ranks with its traceback.
    """
    try:
        if words[:1] != ["doctor"] and not from_outside(words):
            refuse_mismatch(os.environ, comm.size, library)
        return dispatch(words, comm, stop)
    except (ValueError, OSError) as error:
        if os.environ.get("MPIOPT_TRACEBACK"):
            raise
        comm.unsaid = told(error)
        if comm.rank == 0:  # where all ranks failed alike, as they should
            print(f"mpiopt: {comm.unsaid}", file=sys.stderr, flush=True)
        return 2


def told(error: Exception) -> str:
    """Give an error's text in one line; one of the system's own without its number."""
    text = " ".join(str(error).split())
    systems = re.fullmatch(r"\[Errno \d+\] (.*): '(.*)'", text)
    return f"{systems[2]}: {systems[1].lower()}" if systems else text


def dispatch(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Find the command's function and call it."""
    mine = words[: words.index("--")] if "--" in words else words  # what follows is for another command
    if not words or words[0] in ("help", "--help", "-h") or "--help" in mine or words[1:2] == ["-h"]:
        return say(comm, usage(words))
    if words[0] == "--version":
        return say(comm, f"mpiopt {__version__}")
    if words[0] not in COMMANDS:
        near = nearest(words[0], COMMANDS) or f"; the commands are {', '.join(COMMANDS)}"
        raise ValueError(f"unknown command {words[0]!r}{near}")
    module, function, _ = COMMANDS[words[0]]
    code: int = getattr(importlib.import_module(module), function)(words[1:], comm, stop)
    return code


def say(comm: Comm, text: str) -> int:
    """Print on rank 0."""
    print_on_root(comm, text)
    return 0
