"""Find hosts on which the ranks want more cores than they may use."""

from __future__ import annotations

import math
import os
import platform
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.core.cpus import allowed_cores, control_group, cpu_quota
from mpiopt.core.launcher_env import threads_per_rank


class Placement(NamedTuple):
    """Where a rank runs."""

    host: str
    cores: list[int]  # that it may use
    threads: int
    quota: float = 0.0  # processors that its control group allows; 0: any number
    group: str = ""  # the control group, whose ranks share the quota


def own_placement() -> Placement:
    """Return where this process runs."""
    cores, quota = allowed_cores(), cpu_quota()
    limited = quota if math.isfinite(quota) else 0.0
    return Placement(platform.node(), cores, threads_per_rank(os.environ, len(cores)), limited, control_group())


def placements(comm: Comm) -> list[Placement]:
    """Return where all ranks run; collective."""
    return [Placement(*one) for one in allgather_json(comm, own_placement())]


def on_several_hosts(comm: Comm) -> bool:
    """Return whether the ranks run on more than one host; collective."""
    return len(set(allgather_json(comm, platform.node()))) > 1


def oversubscribed(comm: Comm) -> str:
    """Return a line about the host with the fewest cores for its ranks, "" if all have enough; collective."""
    return describe_worst(placements(comm))


def usable_cores(ranks: Iterable[Placement]) -> float:
    """Return how many cores the ranks of one host may use together, by affinity and by quotas."""
    ranks = list(ranks)
    quotas: dict[str, float] = {}
    for rank in ranks:
        quotas[rank.group] = min(quotas.get(rank.group, math.inf), rank.quota or math.inf)
    return min(len({core for rank in ranks for core in rank.cores}), sum(quotas.values()))


def describe_worst(every: Iterable[Placement]) -> str:
    """Return a line about the ranks that want the most threads for each core, "" if all have enough.

    The ranks of a host are looked at together, and those of them that are bound to the same cores.
    """
    parts: dict[tuple[str, tuple[int, ...]], list[Placement]] = defaultdict(list)
    for rank in every:
        parts[rank.host, ()].append(rank)
        parts[rank.host, tuple(rank.cores)].append(rank)
    worst, text = 1.0, ""
    for (host, _), ranks in parts.items():
        cores = usable_cores(ranks)
        threads = sum(rank.threads for rank in ranks)
        if threads > worst * cores:
            worst = threads / cores
            many = f" with {threads} threads" if threads > len(ranks) else ""
            text = f"oversubscribed: {len(ranks)} ranks{many} share {cores:.3g} core{'s' * (cores > 1)} of {host}"
    return text
