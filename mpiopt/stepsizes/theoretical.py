"""The step of the textbooks, from constants of every rank's rows."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class Theoretical(StepSize):
    """γ = 1/max L_i <= 1/L, by one max-consensus before the first round; needs a loss with bounded curvature.

    Of saga: min{3 L_max, L + 6 L_max/b} in place of L_i, L_max of single rows (`mpiopt.local_steps.bounds`).
    """

    name = "theoretical"
    algorithms = ("dlas", "saga", "graph-saga")
    way = Way.ONCE

    def number(self, own: Own) -> float:
        """Give L_i."""
        return own.bound

    def step(self, agreed: float, own: Own) -> float:
        """Give 1/max L_i; 1 where no rank has any curvature."""
        return 1.0 / agreed if agreed > 0.0 else 1.0
