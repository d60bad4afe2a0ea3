"""What tests of processes need: waiting until something is so, and whether a process runs."""

import time
from pathlib import Path


def until(check, seconds=30.0, tell=str, pause=0.02):
    """Wait until `check` returns something true; fail after so many seconds with what `tell` returns."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not in {seconds} s: {tell()}"
        time.sleep(pause)


def running(pid):
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
