"""GT-SAGA: gradient tracking with SAGA's gradients (R. Xin, U. A. Khan, S. Kar, 2020, arXiv 1909.11774)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.push_saga import PushSaga
from mpiopt.graph import Graph, Matrix
from mpiopt.weights import doubly_stochastic


@dataclass(frozen=True)
class GtSaga(PushSaga):
    """push-saga with doubly stochastic weights and without push-sum: edges both ways, or equal degrees. Baseline.

    Linear to the optimum for γ small enough; a number less in a message, and no division by masses that differ.
    """

    name: ClassVar[str] = "gt-saga"
    pushes: ClassVar[bool] = False

    topology: str = "ring-both"

    def weights(self, graph: Graph) -> Matrix:
        """Give doubly stochastic weights."""
        return doubly_stochastic(graph)
