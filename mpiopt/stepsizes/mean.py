"""The mean of the ranks' steps: the paper's rule."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class Mean(StepSize):
    """γ = (1/n) Σ η_i. Not safe where smoothness differs: a quadratic f_i = L_i x²/2 needs α < 2/(L̄ mean(1/L_i)).

    Two ranks with L = 1 and 100: α < 0.078. The filter alone decides, as in the paper.
    """

    name = "mean"
    way = Way.MEAN

    def step(self, agreed: float, own: Own) -> float:
        """Give the mean."""
        return agreed

    def steepness(self, now: float, filtered: float) -> float:
        """Give the filtered curvature."""
        return filtered
