"""One step for all, given.

The harmonic mean of the ranks' steps.

One over the smoothness that sampled losses show: SAG's line search.

The mean of the ranks' steps: the paper's rule.

The least of the ranks' steps.

Every rank its own step: the negative control.

The step of the textbooks, from constants of every rank's rows.

The step of the mean gradient itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.algorithms.step_sizes.base import Own, StepSize, Way


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


@dataclass(frozen=True)
class LineSearch(StepSize):
    """γ = 1/max L_k: L_k is doubled until sampled rows fall as it promises, and shrinks a little otherwise.

    M. Schmidt, N. Le Roux, F. Bach, "Minimizing finite sums with the stochastic average gradient", Math. Program. 162
    (2017), section 4.6. Every rank has a number of its own, `mpiopt.algorithms.saga.line_search`; the largest
    counts, by
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


@dataclass(frozen=True)
class Theoretical(StepSize):
    """γ = 1/max L_i <= 1/L, by one max-consensus before the first round; needs a loss with bounded curvature.

    Of saga: min{3 L_max, L + 6 L_max/b} in place of L_i, L_max of single rows (`mpiopt.algorithms.saga.lipschitz`).
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


@dataclass(frozen=True)
class Whole(StepSize):
    """AdGD on the mean function: its curvature is seen in the mean gradients, which all ranks hold. No numbers more.

    In the unmerged form gradients are not exchanged; there it costs their mean besides. Of saga: from what exchanges
    bring anyway, and beside a bound of single rows (`mpiopt.algorithms.saga.step_size`).
    """

    name = "global"
    algorithms = ("dlas", "saga", "graph-saga")
    way = Way.GRADIENT

    def step(self, agreed: float, own: Own) -> float:
        """Give AdGD's step for the mean gradient."""
        return agreed
