"""Topologies: plug-ins that say which rank sends to which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.consensus.digraph import Graph, check_strongly_connected, from_edges, graph_of
from mpiopt.core.config.registry import Plugin
from mpiopt.core.config.spec import name_and_options

Edges = NDArray[np.int64]  # (from, to), shape (messages, 2)


@dataclass(frozen=True)
class Topology(Plugin, ABC):
    """A plug-in that returns the out-neighbours of each of `size` ranks.

    A topology defines `outgoing`; its options are the fields of the dataclass.

    Examples
    --------
    >>> from mpiopt.consensus.topologies.base import Topology
    >>> Topology.make("ring").graph(3).outgoing
    ((1,), (2,), (0,))
    >>> Topology.make("star", {"hub": 1}).graph(3).outgoing
    ((1,), (0, 2), (1,))
    """

    @classmethod
    def from_text(cls, text: str) -> Topology:
        """Return the plug-in that a word of a job names, with its options, as in `random-k[k=3]`."""
        return cls.make(*name_and_options(text, cls.known()))

    @abstractmethod
    def outgoing(self, size: int) -> Iterable[Iterable[int]]:
        """Return the out-neighbours of ranks 0 … size-1.

        Parameters
        ----------
        size
            Number of ranks.

        Returns
        -------
        iterable
            For each rank its out-neighbours, in any order; loops and repetitions are ignored.

        Raises
        ------
        ValueError, OSError
            If the topology has no graph on `size` ranks.
        """

    def graph(self, size: int) -> Graph:
        """Return the graph on `size` ranks.

        Raises
        ------
        ValueError
            If there is none, or if it is not strongly connected; the message names the components.
        """
        if size < 1:
            raise ValueError(f"a graph needs at least one rank, not {size}")
        return check_strongly_connected(graph_of(self.outgoing(size)))


def shared_graph(topology: Topology, comm: Comm) -> Graph:
    """Return the graph on the ranks of `comm`. Rank 0 makes it, perhaps from a file; all get it or all raise."""
    with comm.agree_on_errors():
        edges = edge_list(topology.graph(comm.size)) if comm.rank == 0 else None
    return from_edges(comm.broadcast(edges), comm.size)


def edge_list(graph: Graph) -> Edges:
    """Return the edges as pairs (from, to), shape (messages, 2)."""
    pairs = [(rank, target) for rank, targets in enumerate(graph.outgoing) for target in targets]
    return np.array(pairs, np.int64).reshape(-1, 2)
