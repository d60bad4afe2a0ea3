"""All ranks of a graph in one thread, for studies and laws: the same protocols without a communicator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiopt.consensus.coordinators.base import Agreed, AnyLength, Array, Coordinator, Protocol, R, Site, Vector
from mpiopt.consensus.digraph import Graph, diameter


def together(protocols: Sequence[Protocol[R]], graph: Graph) -> tuple[list[R], int, list[int]]:
    """Run one protocol for each rank, in step; give the results, the rounds, and each rank's bytes sent.

    Raises RuntimeError if the ranks end in different rounds.
    """
    sent, rounds = [0] * graph.size, 0
    steps = [_resumed(protocol, None) for protocol in protocols]
    while not any(done for done, _ in steps):
        messages: list[Array] = [m.x if isinstance(m, AnyLength) else m for _, m in steps]
        for rank, message in enumerate(messages):
            sent[rank] += message.nbytes * len(graph.outgoing[rank])
        inbox = [[messages[source] for source in sources] for sources in graph.incoming]
        steps = [_resumed(protocol, got) for protocol, got in zip(protocols, inbox, strict=True)]
        rounds += 1
    if not all(done for done, _ in steps):
        raise RuntimeError(f"ranks {[r for r, (done, _) in enumerate(steps) if not done]} go on after round {rounds}")
    return [result for _, result in steps], rounds, sent


def _resumed(protocol: Protocol[Any], received: list[Array] | None) -> tuple[bool, Any]:
    try:
        return False, next(protocol) if received is None else protocol.send(received)
    except StopIteration as end:
        return True, end.value


class Simulation:
    """A coordinator at work on a graph, all ranks at once.

    learned: what each rank learned; rounds_to_learn.
    """

    def __init__(self, coordinator: Coordinator, graph: Graph, seed: int = 0) -> None:
        self.coordinator, self.graph = coordinator, graph
        hops = diameter(graph)
        self.sites = [Site(rank, graph.size, hops, len(to)) for rank, to in enumerate(graph.outgoing)]
        learning = [coordinator.learn(site, seed) for site in self.sites]
        self.learned, self.rounds_to_learn, _ = together(learning, graph)

    def sum(self, xs: Sequence[Vector], divisor: int = 1) -> list[Agreed]:
        """Give Σ_k x_k / divisor as each rank gets it."""
        protocols = [
            self.coordinator.sum(np.asarray(x, np.float64), divisor, site, learned)
            for x, site, learned in zip(xs, self.sites, self.learned, strict=True)
        ]
        found, rounds, sent = together(protocols, self.graph)
        return [Agreed(*estimate, rounds, nbytes) for estimate, nbytes in zip(found, sent, strict=True)]

    def mean(self, xs: Sequence[Vector]) -> list[Agreed]:
        """Give Σ_k x_k / size as each rank gets it."""
        return self.sum(xs, self.graph.size)
