"""How much memory this process may still take, by the system, by control groups and by its own limits."""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")
UNLIMITED = 1 << 60  # bytes; version 1 of control groups writes a number of this size for no limit


class Available(NamedTuple):
    """Bytes that may still be allocated; inf where nothing limits them or nothing is known."""

    shared: float  # by all processes of the node or of the control group together
    own: float  # by this process, under limits such as `ulimit -v`


def available() -> Available:
    """Return the memory that is available now."""
    shared = min([_of_system(), *_of_groups()])
    return Available(max(0.0, shared), max(0.0, min(_below("VmSize", resource.RLIMIT_AS), _of_data())))


def _of_system() -> float:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", read_text(Path("/proc/meminfo")), re.MULTILINE)
    return 1024.0 * int(found[1]) if found else math.inf


def _of_groups() -> Iterator[float]:
    """Yield what each control group around this process leaves; memory that caches files can be taken back."""
    for line in read_text(PROCESS / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            places = with_parents(GROUPS, path)
            names = ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            places = with_parents(GROUPS / "memory", path)
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        for place in places:
            limit, used = (_number(place / name) for name in names[:2])
            if limit < UNLIMITED and used < math.inf:
                cached = re.search(rf"^{names[2]} (\d+)", read_text(place / "memory.stat"), re.MULTILINE)
                yield limit - used + (int(cached[1]) if cached else 0)


def with_parents(root: Path, path: str) -> list[Path]:
    """Return the folder of a control group and those around it; in a container the path may lead nowhere."""
    inner = root / path.strip("/")
    return [place for place in (inner, *inner.parents) if place == root or root in place.parents]


def _of_data() -> float:
    return _below("VmData", resource.RLIMIT_DATA)


def _below(name: str, limit: int) -> float:
    """Return the limit of this process minus what it uses."""
    most = resource.getrlimit(limit)[0]
    if most == resource.RLIM_INFINITY:
        return math.inf
    found = re.search(rf"^{name}:\s+(\d+) kB", read_text(PROCESS / "status"), re.MULTILINE)
    return most - (1024.0 * int(found[1]) if found else 0.0)


def _number(path: Path) -> float:
    found = read_text(path).strip()
    return float(found) if found.isdigit() else math.inf


def read_text(path: Path) -> str:
    """Return the content of a file, "" if it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
