"""Find hosts on which the ranks want more cores than they may use."""

from __future__ import annotations

import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.launcher_env import threads_per_rank


class Placement(NamedTuple):
    """Where a rank runs."""

    host: str
    cores: list[int]  # that it may use
    threads: int


def own_placement() -> Placement:
    """Return where this process runs."""
    bound = getattr(os, "sched_getaffinity", None)
    cores = sorted(bound(0)) if bound else list(range(os.cpu_count() or 1))
    return Placement(platform.node(), cores, threads_per_rank(os.environ, len(cores)))


def oversubscribed(comm: Comm) -> str:
    """Return a line about the host with the fewest cores for its ranks, "" if all have enough; collective."""
    every = comm.allgather(np.frombuffer(json.dumps(own_placement()).encode(), np.uint8))
    return describe_worst(Placement(*json.loads(part.tobytes())) for part in every)


def describe_worst(placements: Iterable[Placement]) -> str:
    """Return a line about the host whose ranks want the most threads for each core, "" if all have enough."""
    hosts: dict[str, list[Placement]] = defaultdict(list)
    for placement in placements:
        hosts[placement.host].append(placement)
    worst, text = 1.0, ""
    for host, ranks in hosts.items():
        cores = len({core for placement in ranks for core in placement.cores})
        threads = sum(placement.threads for placement in ranks)
        if threads > worst * cores:
            worst = threads / cores
            many = f" with {threads} threads" if threads > len(ranks) else ""
            text = f"oversubscribed: {len(ranks)} ranks{many} share {cores} core{'s' * (cores > 1)} of {host}"
    return text
