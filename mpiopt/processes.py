"""Processes of this machine: who started whom, and to end those of one job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

PATIENCE = 5.0  # seconds from SIGTERM to SIGKILL


def children(parent: int) -> list[int]:
    """Give the processes that this one has started; none where the system does not tell."""
    found: list[int] = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(number) for number in path.read_text().split()]
    return found


def end_all(launcher: subprocess.Popen[bytes], seen: Iterable[int], mark: str) -> None:
    """End a launcher, if it runs, and those of the processes seen whose environment has the mark."""
    if launcher.poll() is None:
        launcher.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            launcher.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    left = [pid for pid in seen if marked(pid, mark)]
    while left and time.monotonic() < deadline and launcher.poll() is not None:
        time.sleep(0.05)
        left = [pid for pid in left if marked(pid, mark)]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if launcher.poll() is None:
        launcher.kill()
        launcher.wait()


def marked(pid: int, mark: str) -> bool:
    """Say whether this process runs with the variable `NAME=value` in its environment."""
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
