"""The command line: find the command, run it, turn a user's error into one line and an exit code."""

from __future__ import annotations

import os
import re
import shlex
import sys
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from mpiopt import __version__
from mpiopt.cli.console_log import console_log, read_log_level
from mpiopt.cli.help import EXIT_CODES_TOPIC, usage
from mpiopt.cli.standard_input import input_as_file
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.commands import COMMANDS, HELP_WORDS, prints_all_it_makes, runs_without_mpi
from mpiopt.core.config.registry import nearest
from mpiopt.core.launcher_env import refuse_mismatch
from mpiopt.core.printable import printable
from mpiopt.core.standard_streams import output_fault
from mpiopt.resilience.signals import StopSignal


class CommandEnd(NamedTuple):
    """How a command ended on this rank."""

    code: int  # exit code
    error: str = ""  # the user's error, in one line


def run(words: Sequence[str], comm: Comm, stop: StopSignal, library: str = "") -> int:
    """Run one command on this rank and return its exit code."""
    return run_command(words, comm, stop, library).code


def run_command(words: Sequence[str], comm: Comm, stop: StopSignal, library: str = "") -> CommandEnd:
    """Run one command on this rank.

    Parameters
    ----------
    words : sequence of str
        The command line without the program's name.
    comm : Comm
        All ranks of the job; each calls this function.
    stop : StopSignal
        Signals received by this process.
    library : str
        Version of the MPI library, for the advice after a wrong start.

    Returns
    -------
    CommandEnd
        The exit code (`mpiopt help exit-codes` lists them all) and the user's error.

    Raises
    ------
    Exception
        For a fault of the program. The caller ends all ranks with its traceback.
    """
    try:
        if words[:1] != ["doctor"] and not runs_without_mpi(words):
            refuse_mismatch(os.environ, comm.size, library)
        own_words, level = read_log_level(words)
        with console_log(comm, level):
            code = _dispatch_until_left(own_words, comm, stop)
        if prints_all_it_makes(own_words):
            comm.agree(output_fault())
        return CommandEnd(code)
    except (ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
        internal = isinstance(error, ModuleNotFoundError) and not is_stale_kernel(error)
        if internal or os.environ.get("MPIOPT_TRACEBACK"):
            raise
        text = as_typed(one_line(error), words)
        if comm.rank == 0:  # for all ranks, which should have failed alike
            print(f"mpiopt: {text}", file=sys.stderr, flush=True)
        return CommandEnd(2, text)


def one_line(error: Exception) -> str:
    """Return an error's text in one line; without its number for an error of the operating system."""
    text = printable(" ".join(str(error).split()))
    if isinstance(error, MemoryError):
        reason = text[:1].lower() + text[1:] or "an allocation failed"
        return f"not enough memory: {reason}; use more nodes, or fewer ranks of a node"
    if isinstance(error, ModuleNotFoundError):
        cache = os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).parents[1])
        advice = f"delete it: find {shlex.quote(cache)} -name '*.nb[ic]' -delete"
        return f"the cache of compiled kernels is of another version of mpiopt ({text}); {advice}"
    of_system = re.fullmatch(r"\[Errno \d+\] (.*): '(.*)'", text)
    return f"{of_system[2]}: {of_system[1].lower()}" if of_system else text


def as_typed(text: str, words: Sequence[str]) -> str:
    """Return a message with the flags that were typed in the place of their keys: --l1-groups for l1_groups.

    Keys of one word stay: they may be words of the message.
    """
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and "-" in flag[2:]:
            key = re.escape(flag[2:].replace("-", "_"))
            text = re.sub(rf"(?<![\w./-]){key}(?![\w./])", flag, text)
    return text


def is_stale_kernel(error: ModuleNotFoundError) -> bool:
    """Return whether numba's cache names a module of an earlier version of this package."""
    frames = traceback.walk_tb(error.__traceback__)
    return (error.name or "").startswith("mpiopt.") and any(
        "numba" in Path(frame.f_code.co_filename).parts and frame.f_code.co_filename.endswith("caching.py")
        for frame, _ in frames
    )


def dispatch(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Call the function of the command; return its exit code."""
    own = words[: words.index("--")] if "--" in words else words  # the rest belongs to another command
    if words[:1] == ["help"] and words[1:2] and words[1] not in (*COMMANDS, EXIT_CODES_TOPIC):
        raise unknown_command(words[1], [*COMMANDS, EXIT_CODES_TOPIC])
    if not words or words[0] in HELP_WORDS or "--help" in own or words[1:2] == ["-h"]:
        print_on_root(comm, usage(words))
        return 0
    if words[0] == "--version":
        print_on_root(comm, f"mpiopt {__version__}")
        return 0
    if words[0] not in COMMANDS:
        raise unknown_command(words[0], COMMANDS)
    with input_as_file(words, comm) as given:
        return COMMANDS[words[0]].load()(given[1:], comm, stop)


def _dispatch_until_left(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Call the function of the command; leave by the code of a signal, also if a library has swallowed it."""
    try:
        code = dispatch(words, comm, stop)
    except Exception:
        if stop.left:
            raise SystemExit(stop.left) from None
        raise
    if stop.left:
        raise SystemExit(stop.left)
    return code


def unknown_command(word: str, known: Collection[str]) -> ValueError:
    """Return the error for a word that is no command, with the nearest one."""
    near = nearest(word, known) or f"; the commands are {', '.join(known)}"
    return ValueError(f"unknown command {word!r}{near}")
