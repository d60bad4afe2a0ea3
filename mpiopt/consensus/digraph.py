"""Directed graphs of ranks: who sends to whom, how far, how well mixed. Pure: lists of ranks, no communication."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.neighbours import check_neighbours

Matrix = NDArray[np.float64]
Lists = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Graph:
    """A directed graph on ranks 0 … size-1; no loops: that a rank keeps its own value goes without saying.

    Raises
    ------
    ValueError
        If a neighbour is no rank, or is the rank itself.
    """

    outgoing: Lists  # the ranks to which each rank sends, ascending

    def __post_init__(self) -> None:
        for rank, targets in enumerate(self.outgoing):
            check_neighbours(rank, targets, self.size)

    @property
    def size(self) -> int:
        """The number of ranks."""
        return len(self.outgoing)

    @property
    def incoming(self) -> Lists:
        """The ranks from which each rank gets messages, ascending."""
        sources: list[list[int]] = [[] for _ in self.outgoing]
        for rank, targets in enumerate(self.outgoing):
            for target in targets:
                sources[target].append(rank)
        return tuple(map(tuple, sources))

    @property
    def messages(self) -> int:
        """Messages in one round: the number of edges."""
        return sum(map(len, self.outgoing))

    @property
    def undirected(self) -> bool:
        """Whether every edge goes both ways."""
        return self.outgoing == self.incoming


def graph_of(lists: Iterable[Iterable[int]]) -> Graph:
    """Give the graph with these out-neighbours, in any order, repeated or not; loops are dropped."""
    return Graph(tuple(tuple(sorted(set(map(int, to)) - {rank})) for rank, to in enumerate(lists)))


def components(graph: Graph) -> list[list[int]]:
    """Give the strongly connected components, each ascending, by their lowest rank (Kosaraju 1978; Sharir 1981)."""
    found: list[list[int]] = []
    seen: set[int] = set()
    incoming = graph.incoming
    for start in reversed(_finished(graph.outgoing)):
        if start not in seen:
            found.append(sorted(_reached(incoming, start, seen)))
    return sorted(found)


def _finished(outgoing: Lists) -> list[int]:
    """Give the ranks in the order in which a depth-first search leaves them."""
    order: list[int] = []
    seen: set[int] = set()
    for start in range(len(outgoing)):
        way = [] if start in seen else [(start, iter(outgoing[start]))]
        seen.add(start)
        while way:
            rank, rest = way[-1]
            step = next((t for t in rest if t not in seen), None)
            if step is None:
                order.append(rank)
                way.pop()
            else:
                seen.add(step)
                way.append((step, iter(outgoing[step])))
    return order


def _reached(lists: Lists, start: int, seen: set[int]) -> list[int]:
    """Give what is reached from `start` and not yet seen, and note it as seen."""
    reached = [start]
    seen.add(start)
    for rank in reached:
        fresh = [t for t in lists[rank] if t not in seen]
        seen.update(fresh)
        reached += fresh
    return reached


def check_strongly_connected(graph: Graph) -> Graph:
    """Give the graph back, or raise ValueError naming its components."""
    parts = components(graph)
    if len(parts) > 1:
        listed = ", ".join("{" + _shortened(part) + "}" for part in parts[:8])
        more = f" and {len(parts) - 8} more" if len(parts) > 8 else ""
        raise ValueError(
            f"the graph is not strongly connected: {len(parts)} components, ranks {listed}{more}; "
            "from every rank there must be a way to every other"
        )
    return graph


def _shortened(ranks: Sequence[int]) -> str:
    shown = " ".join(map(str, ranks[:8]))
    return shown + (f" … ({len(ranks)})" if len(ranks) > 8 else "")


def distances(graph: Graph, start: int) -> list[int]:
    """Give the hops from `start` to each rank, -1 where there is no way (breadth first)."""
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
    """Give the longest of the shortest ways, in hops: exact, by a search from every rank.

    Raises ValueError if the graph is not strongly connected.
    """
    check_strongly_connected(graph)
    return max(max(distances(graph, start)) for start in range(graph.size))


def spectral_gap(weights: Matrix) -> float:
    """Give 1 - |λ₂| of a stochastic matrix: by how much a round shrinks what is uneven, in the long run."""
    if len(weights) == 1:
        return 1.0
    sizes = np.sort(np.abs(np.linalg.eigvals(weights)))
    return float(1.0 - sizes[-2])
