"""The check of `mpiopt doctor` of where ranks run: on which hosts, bound to which cores and memory domains."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mpiopt.cli.finding import Finding
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.core.cpus import allowed_cores
from mpiopt.core.memory import read_text

DOMAINS = Path("/sys/devices/system/node")  # Linux: a folder node0, node1 … for each memory domain
MOST = 8  # groups of ranks that are named; a line must stay readable on thousands


class Place(NamedTuple):
    """Where a rank runs."""

    host: str
    cores: list[int]  # that it may use
    all_cores: int  # of the host
    domains: list[int]  # memory domains of its cores
    all_domains: int  # of the host


def own_place() -> Place:
    """Return where this process runs."""
    cores = allowed_cores()
    domains = {
        int(folder.name[4:]): numbers(read_text(folder / "cpulist")) for folder in sorted(DOMAINS.glob("node[0-9]*"))
    }
    every = {core for held in domains.values() for core in held} or set(cores)
    touched = [number for number, held in domains.items() if set(held) & set(cores)]
    return Place(platform.node(), cores, len(every), touched or [0], sum(map(bool, domains.values())) or 1)


def numbers(text: str) -> list[int]:
    """Read Linux' form of a list of cores, such as 0-3,8."""
    ends = [part.split("-") for part in text.strip().split(",") if part]
    return [number for end in ends for number in range(int(end[0]), int(end[-1]) + 1)]


def ranges(found: Sequence[int]) -> str:
    """Write ascending numbers as Linux does: 0-3,8."""
    blocks = [[number for _, number in same] for _, same in groupby(enumerate(found), lambda pair: pair[1] - pair[0])]
    return ",".join(str(block[0]) if len(block) == 1 else f"{block[0]}-{block[-1]}" for block in blocks)


def placement(comm: Comm) -> Finding:
    """Show where each rank runs, and whether it is bound."""
    return describe([Place(*one) for one in allgather_json(comm, own_place())])


def describe(places: Sequence[Place]) -> Finding:
    """Return where the ranks run; they are given in rank order."""
    groups = [(place, [r for r, _ in same]) for place, same in groupby(enumerate(places), lambda pair: pair[1])]
    told = [f"{ranges(ranks)} on {place.host} {_bound(place)}" for place, ranks in groups[:MOST]]
    more = [f"{len(groups) - MOST} more groups"] if len(groups) > MOST else []
    return Finding("placement", "; ".join(told + more), _advice(places))


def _bound(place: Place) -> str:
    """Return to what a rank is bound."""
    if len(place.cores) >= place.all_cores:
        domains = f", {place.all_domains} memory domains" if place.all_domains > 1 else ""
        return f"not bound ({place.all_cores} core{'s' * (place.all_cores > 1)}{domains})"
    domain = f", memory domain {ranges(place.domains)}" if place.all_domains > 1 else ""
    return f"bound to core{'s' * (len(place.cores) > 1)} {ranges(place.cores)}{domain}"


def _advice(places: Sequence[Place]) -> str:
    """Return what to do where placement costs time."""
    blocks = [host for host, _ in groupby(place.host for place in places)]
    if len(blocks) > len(set(blocks)):
        return "ranks of a host do not follow each other, so sums send more: mpirun --map-by slot, srun -m block"
    several = {place.host for place in places if [other.host for other in places].count(place.host) > 1}
    if any(len(place.domains) > 1 for place in places if place.host in several):
        return "a rank may move between memory domains: mpirun --bind-to core, srun --cpu-bind=cores"
    return ""
