"""Averaging: a backlog is one large batch."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.backlogs import Backlog, positive


@dataclass(frozen=True)
class Mean(Backlog):
    """s = η · `times` / n."""

    name = "mean"
    times: float = 1.0

    def __post_init__(self) -> None:
        positive("times", self.times)

    def step(self, step: float, pending: int, norm: float) -> float:
        """Divide by the number."""
        return step * self.times / pending
