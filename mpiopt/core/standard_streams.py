"""Standard output and error that never end a run: a closed pipe, a full disk or a lost terminal costs only text.

Where the text is all that a command makes, `output_fault` tells at its end that it was lost.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable
from typing import Any

from mpiopt.core.config.commands import prints_all_it_makes
from mpiopt.core.files import cause

INPUT, OUTPUT, ERROR = 0, 1, 2  # descriptors


class LenientFile(io.FileIO):
    """A descriptor that takes all bytes and drops them after the first error, of which it tells once.

    Parameters
    ----------
    descriptor : int
        An open descriptor; it stays open.
    tell : callable
        Called with the error, unless it says that the reader has closed the pipe, as `head` does.
    """

    def __init__(self, descriptor: int, tell: Callable[[OSError], None]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._tell, self._lost = tell, False
        self.fault = ""  # why bytes were dropped; not of a reader that wants no more

    def write(self, data: Any) -> int:
        """Write all bytes, or drop them; return their number in either case."""
        raw, done = memoryview(data).cast("B"), 0
        while done < len(raw) and not self._lost:
            try:
                part = super().write(raw[done:])
                if part is None:  # a pipe that does not block, and is full
                    select.select([], [self.fileno()], [])
                done += part or 0
            except OSError as error:
                self._lost = True
                if error.errno != errno.EPIPE:
                    self.fault = f"standard output cannot be written: {cause(error).lower()}"
                    self._tell(error)
        return len(raw)


def make_lenient() -> None:
    """Replace `sys.stdout` and `sys.stderr` by streams that never raise; others than the process's own stay.

    A descriptor that is closed is opened on the null device first: else the next file that is opened would take its
    number, and messages would be written into that file.
    """
    for descriptor in (INPUT, OUTPUT, ERROR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stderr = _lenient(sys.stderr, ERROR, lambda error: None)
    sys.stdout = _lenient(sys.stdout, OUTPUT, _tell_of_output)


def _lenient(stream: Any, descriptor: int, tell: Callable[[OSError], None]) -> Any:
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(LenientFile(descriptor, tell)), "utf-8", "replace")
    try:
        own = stream.fileno() == descriptor
    except (OSError, ValueError, AttributeError):
        own = False
    if not own or not isinstance(stream, io.TextIOWrapper):
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(LenientFile(descriptor, tell)),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def output_fault() -> OSError | None:
    """Return the error that has cost some of this process's standard output, if there was one."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return OSError(raw.fault) if isinstance(raw, LenientFile) and raw.fault else None


def _tell_of_output(error: OSError) -> None:
    if prints_all_it_makes(sys.argv[1:]):
        return  # it ends with an error
    text = f"mpiopt: standard output cannot be written: {cause(error).lower()}; the run goes on without it"
    print(text, file=sys.stderr, flush=True)
