"""Weights on the edges of a graph: rank l adds W[l, j] times the value of rank j, and W[l, l] times its own value.

Column-stochastic weights keep the sum over the ranks (ratio consensus, push-sum). Doubly stochastic weights also keep
values that are equal (L. Xiao, S. Boyd, Systems & Control Letters 53, 2004).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus.digraph import Graph, Matrix

Vector = NDArray[np.float64]


def column_stochastic(graph: Graph) -> Matrix:
    """Return P (size, size) with P[l, j] = 1/(1 + out-degree of j) for l = j and for each out-neighbour l of j.

    A sender can compute its weights alone.
    """
    weights = np.zeros((graph.size, graph.size))
    for rank, targets in enumerate(graph.outgoing):
        weights[[rank, *targets], rank] = 1.0 / (1 + len(targets))
    return weights


def doubly_stochastic(graph: Graph) -> Matrix:
    """Return Metropolis weights, W[l, j] = 1/(1 + max(deg l, deg j)), for a graph whose edges go both ways.

    On a directed graph with equal degrees the uniform weights are doubly stochastic; they are returned there.

    Raises
    ------
    ValueError
        For any other directed graph. Column-stochastic weights with ratio consensus work there.
    """
    if graph.undirected:
        return _metropolis(graph)
    degrees = {len(to) for to in (*graph.outgoing, *graph.incoming)}
    if len(degrees) > 1:
        raise ValueError(
            f"no doubly stochastic weights: edges go one way only and degrees differ ({min(degrees)} to "
            f"{max(degrees)}); choose ring-both, torus, complete, or an algorithm with column-stochastic weights"
        )
    return column_stochastic(graph)


def masses(weights: Matrix) -> Vector:
    """Return n π with W π = π and Σ π = 1, shape (size,): the limit of masses that start as 1.

    For doubly stochastic weights every entry is 1.
    """
    size = len(weights)
    return size * np.linalg.solve(np.eye(size) - weights + 1.0 / size, np.full(size, 1.0 / size))


def _metropolis(graph: Graph) -> Matrix:
    """Return Metropolis weights of a graph whose edges go both ways."""
    weights = np.zeros((graph.size, graph.size))
    degrees = [len(to) for to in graph.outgoing]
    for rank, targets in enumerate(graph.outgoing):
        for target in targets:
            weights[target, rank] = 1.0 / (1 + max(degrees[rank], degrees[target]))
    np.fill_diagonal(weights, 1.0 - weights.sum(axis=1))
    return weights
