"""Discovery of the graph along its own edges, with max-consensus, by ranks that know neither size nor diameter.

Every rank floods the list of its in-neighbours, and each list crosses each edge once. A rank knows the whole graph
when it has a list for every rank that its lists name: these ranks have no other in-neighbour, and the graph is
strongly connected. This takes as many rounds as the longest shortest path to the rank. The rank then knows the
diameter D and relays lists until round D. So all ranks stop in the same round, and max-consensus is complete then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.consensus.coordinators.base import AnyLength, Protocol, Vector
from mpiopt.consensus.digraph import Graph, diameter, from_edges


class Discovered(NamedTuple):
    """What a rank knows after D rounds."""

    maximum: Vector  # elementwise over all ranks
    graph: Graph
    diameter: int  # D, in hops


def discover(rank: int, incoming: Sequence[int], x: Vector | None = None) -> Protocol[Discovered]:
    """Return the elementwise maximum of x over all ranks, and the graph.

    A message holds the maximum so far, then each list that is new to this rank: rank, number of in-neighbours, the
    in-neighbours. All are float64.

    Parameters
    ----------
    rank, incoming
        This rank and its in-neighbours, ascending.
    x
        This rank's numbers, shape (d,), for the maximum; none by default.
    """
    highest = np.empty(0) if x is None else np.asarray(x, np.float64)
    known = {rank: tuple(incoming)}
    fresh, rounds = dict(known), 0
    learned = _whole_graph(known)
    while learned is None or rounds < learned.diameter:
        received = yield AnyLength(np.concatenate([highest, *(_encoded(r, fresh[r]) for r in sorted(fresh))]))
        rounds += 1
        lists: dict[int, tuple[int, ...]] = {}
        for message in received:
            lists |= _decoded(message[highest.size :])
        highest = np.maximum.reduce([highest, *(message[: highest.size] for message in received)])
        fresh = {r: sources for r, sources in lists.items() if r not in known}
        known |= fresh
        learned = learned or _whole_graph(known)
    return learned._replace(maximum=highest)


def _whole_graph(known: Mapping[int, Sequence[int]]) -> Discovered | None:
    """Return the graph if there is a list for every rank that is named."""
    edges = [(source, rank) for rank, sources in known.items() for source in sources]
    if not all(source in known for source, _ in edges):
        return None
    graph = from_edges(edges, len(known))
    return Discovered(np.empty(0), graph, diameter(graph))


def _encoded(rank: int, sources: Sequence[int]) -> Vector:
    """Return a list of in-neighbours as it is sent."""
    return np.array([rank, len(sources), *sources], np.float64)


def _decoded(numbers: Vector) -> dict[int, tuple[int, ...]]:
    """Return the lists of in-neighbours in a message, by rank."""
    lists, at = {}, 0
    while at < len(numbers):
        rank, count = int(numbers[at]), int(numbers[at + 1])
        lists[rank] = tuple(int(source) for source in numbers[at + 2 : at + 2 + count])
        at += 2 + count
    return lists
