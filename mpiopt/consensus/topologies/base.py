"""Topologies: which rank sends to which; one file each. All are strongly connected, or refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.consensus.digraph import Graph, check_strongly_connected, graph_of
from mpiopt.core.config.registry import Plugin

Edges = NDArray[np.int64]  # pairs (from, to), shape (messages, 2)


@dataclass(frozen=True)
class Topology(Plugin, ABC):
    """A plug-in that gives the out-neighbours of each of `size` ranks."""

    @abstractmethod
    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Give the out-neighbours of ranks 0 … size-1, in any order; loops and repetitions do not count.

        Raises ValueError (or OSError) where there is no such graph on `size` ranks.
        """

    def graph(self, size: int) -> Graph:
        """Give the graph on `size` ranks.

        Raises
        ------
        ValueError
            If there is none, or it is not strongly connected: the message names the components.
        """
        if size < 1:
            raise ValueError(f"a graph needs at least one rank, not {size}")
        return check_strongly_connected(graph_of(self.outgoing(size)))


def shared(topology: Topology, comm: Comm) -> Graph:
    """Give the graph on the ranks of `comm`; rank 0 makes it (it may be in a file), all get it or all raise."""
    edges: Edges | None = None
    failed = None
    try:
        if comm.rank == 0:
            edges = edge_list(topology.graph(comm.size))
    except (ValueError, OSError) as error:
        failed = error
    comm.agree(failed)
    return from_edges(comm.broadcast(edges), comm.size)


def edge_list(graph: Graph) -> Edges:
    """Give the edges as pairs (from, to), shape (messages, 2)."""
    pairs = [(rank, target) for rank, targets in enumerate(graph.outgoing) for target in targets]
    return np.array(pairs, np.int64).reshape(-1, 2)


def from_edges(edges: Iterable[Iterable[int]], size: int) -> Graph:
    """Give the graph with these pairs (from, to)."""
    lists: list[list[int]] = [[] for _ in range(size)]
    for start, end in edges:
        lists[start].append(end)
    return graph_of(lists)
