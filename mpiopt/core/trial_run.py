"""Work that may crash is done in a child process first, with a limit of time and of memory."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable

from h5py._objects import phil

SECONDS = 10.0  # for the headers of a file: thousands of datasets take less than one
NBYTES = 2 << 30  # of memory beyond what the process has
PAUSE = 0.0005  # seconds between two looks whether the child has ended, at first; they grow
LONGEST_PAUSE = 0.05  # seconds
NOTICED = 1.0  # seconds between two looks that count at most
MESSAGE = 4000  # bytes of a message: a pipe holds as many without a reader


def fault_of_trial(work: Callable[[], object], seconds: float = SECONDS, nbytes: int = NBYTES) -> str:
    """Do the work in a child process, and return why it did not end well.

    Parameters
    ----------
    work : callable
        What to try; it must be safe to be done a second time.
    seconds : float
        The limit of time.
    nbytes : int
        The limit of memory, beyond what this process has now.

    Returns
    -------
    str
        The message of its error, or how its process ended, in words; "" if it ended well, or without a child process.

    Examples
    --------
    >>> import os
    >>> from mpiopt.core.trial_run import fault_of_trial
    >>> fault_of_trial(lambda: 1), fault_of_trial(os.abort)
    ('', 'a program that reads it is ended by SIGABRT')
    """
    reader, writer = os.pipe()
    try:
        with phil:  # else another thread's lock on HDF5 would stay locked in the child for ever
            child = os.fork()
    except OSError:  # no more processes are allowed: go on without a trial
        os.close(reader)
        os.close(writer)
        return ""
    if child == 0:
        _work_and_leave(work, writer, seconds, nbytes)
    os.close(writer)
    status = _ended(child, seconds)
    try:
        return _in_words(status, os.read(reader, MESSAGE) if status is not None else b"", seconds)
    finally:
        os.close(reader)


def _work_and_leave(work: Callable[[], object], writer: int, seconds: float, nbytes: int) -> None:
    """Do the work as the child, and end it without what Python does at its end."""
    code = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)  # an MPI library prints a report of its own for a crash
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = _address_space() + nbytes
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        work()
        code = 0
    except MemoryError:
        os.write(writer, b"it asks for more memory than it can need")
    except BaseException as error:
        text = " ".join(str(error).split()) or type(error).__name__
        os.write(writer, text.encode("utf-8", "replace")[:MESSAGE])
    finally:
        os._exit(code)


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _ended(child: int, seconds: float) -> int | None:
    """Wait for the child; return its status, or None if it did not end in time and was killed.

    Time in which this process was stopped, too (a suspended job), does not count.
    """
    pause, waited, last = PAUSE, 0.0, time.monotonic()
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        now = time.monotonic()
        waited += min(now - last, NOTICED)
        last = now
        if waited > seconds:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(pause)
        pause = min(2.0 * pause, LONGEST_PAUSE)


def _in_words(status: int | None, message: bytes, seconds: float) -> str:
    if status is None:
        return f"a program that reads it did not end within {seconds:g} s"
    if os.WIFSIGNALED(status):
        return f"a program that reads it is ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return "" if os.WEXITSTATUS(status) == 0 else message.decode("utf-8", "replace") or "it cannot be read"
