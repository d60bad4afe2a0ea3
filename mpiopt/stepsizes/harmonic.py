"""The harmonic mean of the ranks' steps."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class Harmonic(StepSize):
    """1/γ = (1/n) Σ 1/η_i, γ at most √(1 + γ_{t-1}/γ_{t-2}) γ_{t-1}. Safe wherever AdGD is, at the mean's price.

    1/γ >= (1/α) (1/n) Σ L_i >= (1/α) ‖Δḡ‖/‖Δx‖: both conditions of AdGD hold for the mean function, α <= 1/2.
    """

    name = "harmonic"
    way = Way.MEAN

    def number(self, own: Own) -> float:
        """Give 1/η_i."""
        return 1.0 / own.step

    def step(self, agreed: float, own: Own, longest: float) -> float:
        """Give 1 over the mean, within what AdGD allows."""
        return min(1.0 / agreed, longest)
