"""The harmonic mean of the ranks' steps."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class Harmonic(StepSize):
    """1/γ = (1/n) Σ 1/η_i: safe wherever AdGD is, at the price of the mean.

    Both conditions of AdGD's proof (α <= 1/2) hold for the mean function. 1/γ >= (1/α) mean L_i >= (1/α) ‖Δḡ‖/‖Δx‖.
    And γ grows no faster than it may, without a guard: 1/η_i >= φ(a_i, b_i) = a_i/√(1 + b_i/a_i), with a_i, b_i the
    last two 1/η_i; φ is jointly convex (the perspective of 1/√(1 + r)), so its mean is at least φ of the means.
    """

    name = "harmonic"
    way = Way.MEAN

    def number(self, own: Own) -> float:
        """Give 1/η_i."""
        return 1.0 / own.step

    def step(self, agreed: float, own: Own) -> float:
        """Give 1 over the mean."""
        return 1.0 / agreed
