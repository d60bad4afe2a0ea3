"""Every rank its own step: the negative control."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class Uncoordinated(StepSize):
    """Rank i moves by η_i. Where the gradients at the optimum differ it stalls: Σ η_i ∇f_i = 0 is another point."""

    name = "none"
    way = Way.NOTHING
    common = False

    def step(self, agreed: float, own: Own) -> float:
        """Give this rank's own step."""
        return own.step

    def steepness(self, now: float, filtered: float) -> float:
        """Give the filtered curvature, as in the paper's rule."""
        return filtered
