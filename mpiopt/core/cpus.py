"""How many processors this process may use: by its affinity, and by the quotas of control groups."""

from __future__ import annotations

import math
import os

from mpiopt.core.memory import GROUPS, PROCESS, read_text, with_parents


def allowed_cores() -> list[int]:
    """Return the numbers of the cores on which this process may run."""
    bound = getattr(os, "sched_getaffinity", None)
    return sorted(bound(0)) if bound else list(range(os.cpu_count() or 1))


def cpu_quota() -> float:
    """Return the processor seconds that control groups allow this process and its neighbours in each second.

    inf where nothing limits them: `docker --cpus` and Slurm's or Kubernetes' limits do.
    """
    least = math.inf
    for line in read_text(PROCESS / "cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            for place in with_parents(GROUPS, path):
                least = min(least, _ratio(read_text(place / "cpu.max").split()))
        elif "cpu" in controllers.split(","):
            for place in with_parents(GROUPS / "cpu", path):
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                least = min(least, _ratio([read_text(place / name).strip() for name in names]))
    return least


def control_group() -> str:
    """Return the names of the control groups of this process: processes with the same names share their limits."""
    return read_text(PROCESS / "cgroup")


def _ratio(words: list[str]) -> float:
    """Return quota over period; inf for "max", -1 and files that are not there."""
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return math.inf
    return int(words[0]) / int(words[1])
