"""Weights on the edges of a graph: W[l, j] is what rank l takes of rank j's value; a rank keeps a part of its own.

Column-stochastic weights keep the sum (ratio consensus, push-sum), row-stochastic ones keep what is equal, doubly
stochastic ones both (Xiao, Boyd 2004).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus.digraph import Graph, Matrix

Vector = NDArray[np.float64]


def column_stochastic(graph: Graph) -> Matrix:
    """Give P with P[l, j] = 1/(1 + out-degree of j) for l = j and l in j's out-neighbours: the sender's affair."""
    return np.ascontiguousarray(_uniform(graph.outgoing).T)


def row_stochastic(graph: Graph) -> Matrix:
    """Give R with R[l, j] = 1/(1 + in-degree of l) for j = l and j in l's in-neighbours: the receiver's affair."""
    return _uniform(graph.incoming)


def doubly_stochastic(graph: Graph) -> Matrix:
    """Give Metropolis weights, W[l, j] = 1/(1 + max(deg l, deg j)), where edges go both ways (Xiao, Boyd 2004).

    On a directed graph whose degrees are all equal the uniform weights are doubly stochastic; they are given there.

    Raises
    ------
    ValueError
        For other directed graphs: there, use column-stochastic weights and ratio consensus.
    """
    if graph.undirected:
        return _metropolis(graph)
    degrees = {len(to) for to in (*graph.outgoing, *graph.incoming)}
    if len(degrees) > 1:
        raise ValueError(
            f"no doubly stochastic weights: edges go one way only and degrees differ ({min(degrees)} to "
            f"{max(degrees)}); column-stochastic weights fit every graph"
        )
    return column_stochastic(graph)


def masses(weights: Matrix) -> Vector:
    """Give n π with W π = π, Σ π = 1: what masses of 1 become under W in the end; 1 for doubly stochastic weights."""
    size = len(weights)
    return size * np.linalg.solve(np.eye(size) - weights + 1.0 / size, np.full(size, 1.0 / size))


def _uniform(lists: tuple[tuple[int, ...], ...]) -> Matrix:
    weights = np.zeros((len(lists), len(lists)))
    for rank, others in enumerate(lists):
        weights[rank, [rank, *others]] = 1.0 / (1 + len(others))
    return weights


def _metropolis(graph: Graph) -> Matrix:
    weights = np.zeros((graph.size, graph.size))
    degrees = [len(to) for to in graph.outgoing]
    for rank, targets in enumerate(graph.outgoing):
        for target in targets:
            weights[target, rank] = 1.0 / (1 + max(degrees[rank], degrees[target]))
    np.fill_diagonal(weights, 1.0 - weights.sum(axis=1))
    return weights
