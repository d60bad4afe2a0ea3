"""The speed at which checkpoints are written to disk: measured, or given as 2GB/s."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

from mpiopt.cluster.planning.link import PREFIX

NBYTES = 32 << 20  # bytes of the file that is written to measure: more than a disk's own buffer, done in a second


def measure(folder: Path) -> float:
    """Write a file with fsync in the folder of the results; return its bytes a second.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    data = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".partial") as file:
        begin = time.perf_counter()
        for _ in range(NBYTES // len(data)):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return NBYTES / (time.perf_counter() - begin)


def read(text: str) -> float:
    """Read `2GB/s` as bytes a second; ValueError for another form."""
    match = re.fullmatch(r"\s*([\d.eE+]+)\s*([kMGT]?)B/s\s*", text)
    try:
        if match is None or not float(match[1]) > 0:
            raise ValueError
        return float(match[1]) * PREFIX[match[2]]
    except ValueError:
        raise ValueError(f"--disk must be like 2GB/s, or measured; not {text!r}") from None
