"""How fast checkpoints get to the disk, and how often they should."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

from mpiopt.cluster.planning.link import PREFIX

NBYTES = 32 << 20
PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0, "week": 604800.0}
LONG = {"second": "s", "minute": "min", "hour": "h", "day": "day", "week": "week"}  # and their plurals


def measure(folder: Path) -> float:
    """Give the bytes a second of a plain file with fsync, in the folder of the results; OSError if it cannot be."""
    data = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".partial") as file:
        begin = time.perf_counter()
        for _ in range(NBYTES // len(data)):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return NBYTES / (time.perf_counter() - begin)


def rate(text: str) -> float:
    """Read `2GB/s`; ValueError if it is of another form."""
    found = re.fullmatch(r"\s*([\d.eE+]+)\s*([kMGT]?)B/s\s*", text)
    try:
        if found is None or not float(found[1]) > 0:
            raise ValueError
        return float(found[1]) * PREFIX[found[2]]
    except ValueError:
        raise ValueError(f"--disk is like 2GB/s, or measured; not {text!r}") from None


def seconds_between(text: str) -> float:
    """Read a failure rate such as `1/day` or `0.02/h`, of the whole job, as the seconds between two failures."""
    number, slash, unit = text.partition("/")
    try:
        failures = float(number)
        if not slash or not failures > 0:
            raise ValueError
        unit = unit.strip()
        return PERIODS[LONG.get(unit.removesuffix("s"), unit)] / failures
    except (ValueError, KeyError):
        raise ValueError(f"--failures is like 1/day or 2/hour, of the whole job; not {text!r}") from None
