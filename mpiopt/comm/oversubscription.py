"""Do the ranks of a host want more cores than they may use there?"""

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


class Seat(NamedTuple):
    """Where a rank sits."""

    host: str
    cores: list[int]  # that it may use
    threads: int


def here() -> Seat:
    """Give this process's seat."""
    bound = getattr(os, "sched_getaffinity", None)
    cores = sorted(bound(0)) if bound else list(range(os.cpu_count() or 1))
    return Seat(platform.node(), cores, threads_per_rank(os.environ, len(cores)))


def oversubscribed(comm: Comm) -> str:
    """Give a line about the most crowded host, "" where all have room; collective."""
    told = comm.allgather(np.frombuffer(json.dumps(here()).encode(), np.uint8))
    return crowd([Seat(*json.loads(part.tobytes())) for part in told])


def crowd(seats: Iterable[Seat]) -> str:
    """Compare what the ranks of each host want with the cores that they may use together."""
    hosts: dict[str, list[Seat]] = defaultdict(list)
    for seat in seats:
        hosts[seat.host].append(seat)
    worst, text = 1.0, ""
    for host, ranks in hosts.items():
        cores, threads = len({core for seat in ranks for core in seat.cores}), sum(seat.threads for seat in ranks)
        if threads > worst * cores:
            worst = threads / cores
            many = f" with {threads} threads" if threads > len(ranks) else ""
            text = f"crowded: {len(ranks)} ranks{many} share {cores} core{'s' * (cores > 1)} of {host} and take turns"
    return text
