"""One step for all, given."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class Fixed(StepSize):
    """γ = value in all rounds; it must be below 2/L, L the smoothness of the mean function."""

    name = "fixed"
    algorithms = ("dlas", "saga", "graph-saga")
    way = Way.NOTHING

    value: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.value < float("inf"):
            raise ValueError(f"fixed: value must be a number above 0, not {self.value}")

    def step(self, agreed: float, own: Own) -> float:
        """Give the value."""
        return self.value
