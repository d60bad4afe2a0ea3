"""One over the smoothness that sampled losses show: SAG's line search."""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.stepsizes import Own, StepSize, Way


@dataclass(frozen=True)
class LineSearch(StepSize):
    """γ = 1/max L_k: L_k is doubled until sampled rows fall as it promises, and shrinks a little otherwise.

    M. Schmidt, N. Le Roux, F. Bach, "Minimizing finite sums with the stochastic average gradient", Math. Program. 162
    (2017), section 4.6. Every rank has a number of its own, `mpiopt.local_steps.line_search`; the largest counts, by
    max-consensus at each exchange. Needs no constants of the data and no bound on the loss's curvature.
    """

    name = "line-search"
    algorithms = ("saga", "graph-saga")
    way = Way.MAX

    def number(self, own: Own) -> float:
        """Give L_k."""
        return own.bound

    def step(self, agreed: float, own: Own) -> float:
        """Give 1/L; 1 where no row has any curvature."""
        return 1.0 / agreed if agreed > 0.0 else 1.0
