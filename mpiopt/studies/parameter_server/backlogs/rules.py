"""Clipping (Pascanu, Mikolov, Bengio, ICML 2013), of the sum: it bounds how far one step goes.

Averaging: a backlog is one large batch.

The rule of Cao, Luo, Gan, Jinesh (Stanford CS244B, 2024): one small step for a large backlog.

Staleness weighting (Zhang, Gupta, Lian, Liu, IJCAI 2016: divide the step by the staleness).
"""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.studies.parameter_server.backlogs.base import Backlog, positive


@dataclass(frozen=True)
class Clip(Backlog):
    """s = η · min(1, `longest`/‖Σ g_j‖)."""

    name = "clip"
    longest: float = 10.0

    def __post_init__(self) -> None:
        positive("longest", self.longest)

    def step(self, step: float, pending: int, norm: float) -> float:
        """Shorten what is too long."""
        return step * min(1.0, self.longest / max(norm, 1e-300))


@dataclass(frozen=True)
class MeanBacklog(Backlog):
    """s = η · `times` / n."""

    name = "mean"
    times: float = 1.0

    def __post_init__(self) -> None:
        positive("times", self.times)

    def step(self, step: float, pending: int, norm: float) -> float:
        """Divide by the number."""
        return step * self.times / pending


@dataclass(frozen=True)
class SmallStep(Backlog):
    """s = η up to `most` pending, `stale` beyond; all are summed."""

    name = "small-step"
    most: int = 50
    stale: float = 1e-3

    def __post_init__(self) -> None:
        positive("stale", self.stale)

    def step(self, step: float, pending: int, norm: float) -> float:
        """Look at the number."""
        return step if pending <= self.most else self.stale


@dataclass(frozen=True)
class Staleness(Backlog):
    """c_j = 1/(1 + age + place): as if applied one by one, each as stale as it then would be."""

    name = "staleness"

    def weight(self, age: int, place: int, norm: float) -> float:
        """Count what came before it."""
        return 1.0 / (1.0 + age + place)
