"""The rule of Cao, Luo, Gan, Jinesh (Stanford CS244B, 2024): one small step for a large backlog."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.backlogs import Backlog, positive


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
