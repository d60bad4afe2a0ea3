"""Max-consensus, and the graph itself, where neither its size nor its diameter is known.

Every rank floods the list of its in-neighbours, each list once along each edge. A rank that has the list of every
rank named in its lists has them all: those ranks have no in-neighbour outside, and the graph is strongly connected.
It is so after as many rounds as the longest of the shortest ways to it, and then knows the diameter D; it goes on
relaying until round D. So all ranks stop with certainty, in the same round, the first in which max-consensus is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.consensus.coordinators.base import AnyLength, Protocol, Vector
from mpiopt.consensus.digraph import Graph, diameter, graph_of


class Discovered(NamedTuple):
    """What a rank learned in D rounds."""

    maximum: Vector
    graph: Graph
    diameter: int


def discover(rank: int, incoming: Sequence[int], x: Vector | None = None) -> Protocol[Discovered]:
    """Give the elementwise maximum of x over all ranks, and the graph. A rank knows its in-neighbours and no more.

    Message: x so far, then the lists that are new here: rank, their number, the in-neighbours; float64.
    """
    highest = np.empty(0) if x is None else np.asarray(x, np.float64)
    known = {rank: tuple(incoming)}
    fresh, rounds = dict(known), 0
    found = _closed(known)
    while found is None or rounds < found.diameter:
        received = yield AnyLength(np.concatenate([highest, *(_record(r, fresh[r]) for r in sorted(fresh))]))
        rounds += 1
        told: dict[int, tuple[int, ...]] = {}
        for message in received:
            told |= _records(message[highest.size :])
        highest = np.maximum.reduce([highest, *(message[: highest.size] for message in received)])
        fresh = {r: sources for r, sources in told.items() if r not in known}
        known |= fresh
        found = found or _closed(known)
    return found._replace(maximum=highest)


def _closed(known: Mapping[int, Sequence[int]]) -> Discovered | None:
    """Give the graph if every rank that is named is known."""
    if not all(source in known for sources in known.values() for source in sources):
        return None
    outgoing: list[list[int]] = [[] for _ in known]
    for rank, sources in known.items():
        for source in sources:
            outgoing[source].append(rank)
    graph = graph_of(outgoing)
    return Discovered(np.empty(0), graph, diameter(graph))


def _record(rank: int, sources: Sequence[int]) -> Vector:
    return np.array([rank, len(sources), *sources], np.float64)


def _records(words: Vector) -> dict[int, tuple[int, ...]]:
    told, at = {}, 0
    while at < len(words):
        rank, count = int(words[at]), int(words[at + 1])
        told[rank] = tuple(int(word) for word in words[at + 2 : at + 2 + count])
        at += 2 + count
    return told
