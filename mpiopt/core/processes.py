"""Processes of this machine: find the ranks of a launcher, and end a job with its files in shared memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PATIENCE = 5.0  # seconds from SIGTERM to SIGKILL
SEGMENTS = (" /dev/shm/sm_segment.", " /dev/shm/vader_segment.", " /dev/shm/mpich_shm_")  # Open MPI 5, 4, MPICH


def children(parent: int) -> list[int]:
    """Return the processes that this one has started; none if the system does not say."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # the process and its threads may end at any moment
        for thread in os.listdir(f"/proc/{parent}/task"):
            with contextlib.suppress(OSError):
                found += [
                    int(number) for number in Path(f"/proc/{parent}/task/{thread}/children").read_text().split()
                ]
    return found


def ranks_of(launcher: int) -> list[int]:
    """Return the ranks that an mpirun has started on this host: those of its descendants that run this Python.

    MPICH's ranks are grandchildren. An ssh of Open MPI's mpirun is not a rank: a signal to it would cut off the ranks
    of another host.
    """
    found: list[int] = []
    below = children(launcher)
    while below:
        pid = below.pop()
        ours = runs_this_python(pid)
        found += [pid] if ours else []
        below += [] if ours else children(pid)
    return found


def runs_this_python(pid: int) -> bool:
    """Return whether a process runs the Python interpreter of this one."""
    try:
        return os.readlink(f"/proc/{pid}/exe") == os.path.realpath(sys.executable)
    except OSError:
        return False


def end_all(launcher: subprocess.Popen[bytes], mark: str) -> None:
    """End a launcher, and every process with the variable `mark`, NAME=value, in its environment."""
    if launcher.poll() is None:
        launcher.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            launcher.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    left = marked(mark, but=launcher.pid)
    while left and time.monotonic() < deadline and launcher.poll() is not None:
        time.sleep(0.05)
        left = marked(mark, but=launcher.pid)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if launcher.poll() is None:
        launcher.kill()
        launcher.wait()


def marked(mark: str, but: int) -> list[int]:
    """Return the processes with the variable NAME=value in their environment, except `but`."""
    found: list[int] = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):  # a process of another user, or ended
            if pid != but and mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def segments(process: int | str = "self") -> set[str]:
    """Return the shared-memory files of MPI that a process has open: those of all ranks of its job on this host."""
    try:
        lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {line.rpartition(" ")[2] for line in lines if any(name in line for name in SEGMENTS)}


def remove(paths: Iterable[str]) -> None:
    """Remove files that still exist."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)
