"""Staleness weighting (Zhang, Gupta, Lian, Liu, IJCAI 2016: divide the step by the staleness)."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.backlogs import Backlog


@dataclass(frozen=True)
class Staleness(Backlog):
    """c_j = 1/(1 + age + place): as if applied one by one, each as stale as it then would be."""

    name = "staleness"

    def weight(self, age: int, place: int, norm: float) -> float:
        """Count what came before it."""
        return 1.0 / (1.0 + age + place)
