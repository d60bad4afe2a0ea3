"""The messages of the library on the terminal: `logging` is configured here, for the time of one command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.core.printable import printable

LOG_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FLAG = "--log-level"
VERBOSE = ("--verbose", "-v")  # the same as --log-level debug


class CommandLine(NamedTuple):
    """A command line without the flags --log-level and --verbose, and the level that they ask for."""

    words: list[str]
    level: int


def read_log_level(words: Sequence[str]) -> CommandLine:
    """Take `--log-level LEVEL` and `--verbose` out of a command line; words after `--` belong to another command.

    Raises
    ------
    ValueError
        If there is no such level.
    """
    end = list(words).index("--") if "--" in words else len(words)
    kept, level, rest = list(words[:1]), "info", list(words[1:end])
    while rest:
        word = rest.pop(0)
        if word in VERBOSE:
            level = "debug"
            continue
        name, equals, value = word.partition("=")
        if name != FLAG:
            kept.append(word)
            continue
        level = value if equals else (rest.pop(0) if rest else "")
        if level not in LOG_LEVELS:
            raise ValueError(f"{FLAG} must be debug, info, warning or error, not {level!r}")
    if level == "debug" and "--quiet" in kept:
        raise ValueError("--quiet prints errors only, and --verbose more than usual; set one of them")
    return CommandLine([*kept, *words[end:]], LOG_LEVELS[level])


class ConsoleHandler(logging.Handler):
    """Writes plain lines: information on standard output, warnings and errors on standard error.

    The streams are looked up for each message, since a caller may have replaced them.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message, with a question mark for each character that the stream's encoding lacks."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        try:
            text = printable(self.format(record))
            if record.levelno != logging.INFO:
                text = f"{record.name if record.levelno < logging.INFO else 'mpiopt'}: {text}"
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
            stream.flush()
        except BrokenPipeError:  # the reader has closed the pipe, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except OSError as error:  # the program's own streams never raise: mpiopt.core.standard_streams
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is not sys.stderr:
                print(f"mpiopt: standard output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


@contextmanager
def console_log(comm: Comm, level: int) -> Iterator[None]:
    """Write the package's messages on the terminal while the block runs: on rank 0, and where a rank may become 0.

    The package logs on rank 0 of the communicator of the moment. If rank 0 is lost, another process takes its place.
    """
    logger = logging.getLogger("mpiopt")
    if comm.rank != 0 and comm.membership is None:
        yield
        return
    handler, before = ConsoleHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
