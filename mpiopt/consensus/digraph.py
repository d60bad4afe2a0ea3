"""Directed graphs of ranks: edges, strong connection, distances and spectral gap. Nothing here communicates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.neighbours import check_neighbours

Matrix = NDArray[np.float64]
NeighbourLists = tuple[tuple[int, ...], ...]  # the neighbours of rank 0, 1, …, each ascending
MOST_LISTED = 8  # components, and ranks of a component, that an error message lists


@dataclass(frozen=True)
class Graph:
    """A directed graph on ranks 0 … size-1. It has no loops, because every rank knows its own value.

    Parameters
    ----------
    outgoing
        For each rank the ranks to which it sends, ascending.

    Raises
    ------
    ValueError
        If a neighbour is not a rank, or is the rank itself.
    """

    outgoing: NeighbourLists

    def __post_init__(self) -> None:
        for rank, targets in enumerate(self.outgoing):
            check_neighbours(rank, targets, self.size)

    @property
    def size(self) -> int:
        """The number of ranks."""
        return len(self.outgoing)

    @property
    def incoming(self) -> NeighbourLists:
        """For each rank the ranks from which it receives, ascending."""
        sources: list[list[int]] = [[] for _ in self.outgoing]
        for rank, targets in enumerate(self.outgoing):
            for target in targets:
                sources[target].append(rank)
        return tuple(map(tuple, sources))

    @property
    def messages(self) -> int:
        """The number of messages in one round, which is the number of edges."""
        return sum(map(len, self.outgoing))

    @property
    def undirected(self) -> bool:
        """Whether every edge goes both ways."""
        return self.outgoing == self.incoming


def graph_of(lists: Iterable[Iterable[int]]) -> Graph:
    """Return the graph with these out-neighbours. Loops and repeated edges are dropped; any order is allowed."""
    return Graph(tuple(tuple(sorted(set(map(int, to)) - {rank})) for rank, to in enumerate(lists)))


def from_edges(edges: Iterable[Iterable[int]], size: int) -> Graph:
    """Return the graph on `size` ranks with these edges (from, to)."""
    lists: list[list[int]] = [[] for _ in range(size)]
    for start, end in edges:
        lists[start].append(end)
    return graph_of(lists)


def components(graph: Graph) -> list[list[int]]:
    """Return the strongly connected components, ordered by their lowest rank (Kosaraju 1978; Sharir 1981)."""
    parts: list[list[int]] = []
    visited: set[int] = set()
    incoming = graph.incoming
    for start in reversed(_finishing_order(graph.outgoing)):
        if start not in visited:
            parts.append(sorted(_newly_reached(incoming, start, visited)))
    return sorted(parts)


def _finishing_order(outgoing: NeighbourLists) -> list[int]:
    """Return the ranks in the order in which a depth-first search leaves them."""
    order: list[int] = []
    visited: set[int] = set()
    for start in range(len(outgoing)):
        path = [] if start in visited else [(start, iter(outgoing[start]))]
        visited.add(start)
        while path:
            rank, rest = path[-1]
            following = next((target for target in rest if target not in visited), None)
            if following is None:
                order.append(rank)
                path.pop()
            else:
                visited.add(following)
                path.append((following, iter(outgoing[following])))
    return order


def _newly_reached(lists: NeighbourLists, start: int, visited: set[int]) -> list[int]:
    """Return the ranks that `start` reaches and that were not visited before, and mark them as visited."""
    reached = [start]
    visited.add(start)
    for rank in reached:
        fresh = [target for target in lists[rank] if target not in visited]
        visited.update(fresh)
        reached += fresh
    return reached


def check_strongly_connected(graph: Graph) -> Graph:
    """Return the graph unchanged, or raise ValueError with its components if it is not strongly connected."""
    parts = components(graph)
    if len(parts) > 1:
        listed = ", ".join("{" + _shortened(part) + "}" for part in parts[:MOST_LISTED])
        more = f" and {len(parts) - MOST_LISTED} more" if len(parts) > MOST_LISTED else ""
        raise ValueError(
            f"the graph is not strongly connected: {len(parts)} components, ranks {listed}{more}; "
            "add edges so that every rank has a path to every other rank"
        )
    return graph


def _shortened(ranks: Sequence[int]) -> str:
    shown = " ".join(map(str, ranks[:MOST_LISTED]))
    return shown + (f" … ({len(ranks)})" if len(ranks) > MOST_LISTED else "")


def distances(graph: Graph, start: int) -> list[int]:
    """Return the number of hops from `start` to each rank, found breadth first; -1 where there is no path."""
    hops = [-1] * graph.size
    hops[start] = 0
    queue = [start]
    for rank in queue:
        for target in graph.outgoing[rank]:
            if hops[target] < 0:
                hops[target] = hops[rank] + 1
                queue.append(target)
    return hops


def diameter(graph: Graph) -> int:
    """Return the longest of the shortest paths, in hops, by a search from every rank.

    Raises ValueError if the graph is not strongly connected.
    """
    check_strongly_connected(graph)
    return max(max(distances(graph, start)) for start in range(graph.size))


def spectral_gap(weights: Matrix) -> float:
    """Return 1 - |λ₂| of a stochastic matrix (size, size): in the long run a round shrinks differences by |λ₂|."""
    if len(weights) == 1:
        return 1.0
    sizes = np.sort(np.abs(np.linalg.eigvals(weights)))
    return float(1.0 - sizes[-2])
