"""A coordinator on all ranks of a graph in one thread, for studies and tests: no communicator is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiopt.consensus.coordinators.base import ConsensusResult, Coordinator, RankView, Vector
from mpiopt.consensus.digraph import Graph, diameter
from mpiopt.consensus.protocol_driver import run_together


class Simulation:
    """The counterpart of `Coordination` that holds all ranks at once.

    Parameters
    ----------
    coordinator, graph
        What is simulated, and where.
    seed
        Seed of the random numbers with which the coordinator learns the graph.

    Attributes
    ----------
    views
        For each rank what it knows of the graph.
    learned
        For each rank what the coordinator learned of the graph.
    rounds_to_learn
        The rounds that this took.
    """

    def __init__(self, coordinator: Coordinator, graph: Graph, seed: int = 0) -> None:
        self.coordinator, self.graph = coordinator, graph
        hops = diameter(graph)
        self.views = [RankView(rank, graph.size, hops, len(to)) for rank, to in enumerate(graph.outgoing)]
        learning = [coordinator.learn(view, seed) for view in self.views]
        self.learned, self.rounds_to_learn, _ = run_together(learning, graph)

    def sum(self, xs: Sequence[Vector], divisor: int = 1) -> list[ConsensusResult]:
        """Return Σ_k x_k / divisor as each rank gets it."""
        protocols = [
            self.coordinator.sum(np.asarray(x, np.float64), divisor, view, learned)
            for x, view, learned in zip(xs, self.views, self.learned, strict=True)
        ]
        estimates, rounds, sent = run_together(protocols, self.graph)
        return [ConsensusResult(*estimate, rounds, nbytes) for estimate, nbytes in zip(estimates, sent, strict=True)]

    def mean(self, xs: Sequence[Vector]) -> list[ConsensusResult]:
        """Return Σ_k x_k / size as each rank gets it."""
        return self.sum(xs, self.graph.size)
