"""The backlog rules: clipping, averaging, one small step, and weights by staleness."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.studies.job_file import check_positive
from mpiopt.studies.parameter_server.backlogs.base import Backlog


@dataclass(frozen=True)
class Clip(Backlog):
    """s = η · min(1, `longest`/‖Σ g_j‖), which bounds the length of a step (Pascanu, Mikolov, Bengio, ICML 2013)."""

    name = "clip"
    longest: float = 10.0

    def __post_init__(self) -> None:
        check_positive(self, "longest")

    def step(self, step: float, pending: int, norm: float) -> float:
        """Shorten a step that is too long."""
        return step * min(1.0, self.longest / max(norm, 1e-300))


@dataclass(frozen=True)
class MeanBacklog(Backlog):
    """s = η · `times` / n: the pending gradients are one large batch."""

    name = "mean"
    times: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "times")

    def step(self, step: float, pending: int, norm: float) -> float:
        """Divide by the number of gradients."""
        return step * self.times / pending


@dataclass(frozen=True)
class SmallStep(Backlog):
    """s = η for up to `most` gradients, else `stale` (Cao, Luo, Gan, Jinesh, Stanford CS244B, 2024)."""

    name = "small-step"
    most: int = 50
    stale: float = 1e-3

    def __post_init__(self) -> None:
        check_positive(self, "stale")

    def step(self, step: float, pending: int, norm: float) -> float:
        """Choose by the number of gradients."""
        return step if pending <= self.most else self.stale


@dataclass(frozen=True)
class Staleness(Backlog):
    """c_j = 1/(1 + age + place), the step divided by the staleness (Zhang, Gupta, Lian, Liu, IJCAI 2016).

    The gradients are weighted as if they were applied one by one.
    """

    name = "staleness"

    def weight(self, age: int, place: int, norm: float) -> float:
        """Divide by the staleness."""
        return 1.0 / (1.0 + age + place)
