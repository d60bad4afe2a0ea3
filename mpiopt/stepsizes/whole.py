"""The step of the mean gradient itself."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class Whole(StepSize):
    """AdGD on the mean function: its curvature is seen in the mean gradients, which all ranks hold. No numbers more.

    In the unmerged form gradients are not exchanged; there it costs their mean besides. Of saga: from what exchanges
    bring anyway, and beside a bound of single rows (`mpiopt.local_steps.lengths`).
    """

    name = "global"
    algorithms = ("dlas", "saga", "graph-saga")
    way = Way.GRADIENT

    def step(self, agreed: float, own: Own) -> float:
        """Give AdGD's step for the mean gradient."""
        return agreed
