"""The least of the ranks' steps."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class Min(StepSize):
    """γ = min η_i: safe, but as short as the steepest rank wants it; D rounds of max-consensus.

    It never grows faster than AdGD allows: where rank j was the least, γ_t <= η_j <= √(1 + ρ_j) γ_{t-1}, and ρ_j is
    at most γ_{t-1}/γ_{t-2}.
    """

    name = "min"
    way = Way.MAX

    def number(self, own: Own) -> float:
        """Give -η_i."""
        return -own.step

    def step(self, agreed: float, own: Own) -> float:
        """Give the least."""
        return -agreed
