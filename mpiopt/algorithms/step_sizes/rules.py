"""The step-size rules: a given step, means and extrema of the ranks' steps, theory, line search, mean gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.step_sizes.base import Exchanged, LocalStep, StepSize


@dataclass(frozen=True)
class Fixed(StepSize):
    """γ = value in all rounds; it must be below 2/L, L the smoothness of the mean function.

    Parameters
    ----------
    value
        γ, above 0.
    """

    name = "fixed"
    algorithms: ClassVar[tuple[str, ...]] = ("dlas", "saga", "graph-saga")
    exchanged = Exchanged.NOTHING

    value: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.value < float("inf"):
            raise ValueError(f"fixed: value must be a number above 0, not {self.value}")

    def step(self, agreed: float, local: LocalStep) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class Harmonic(StepSize):
    """1/γ = (1/n) Σ 1/η_i: safe if AdGD is, and as cheap as the mean.

    Both conditions of AdGD's proof (α <= 1/2) hold for the mean function. First, 1/γ >= (1/α) mean L_i >= (1/α)
    ‖Δḡ‖/‖Δx‖. Second, γ grows no faster than AdGD allows: 1/η_i >= φ(a_i, b_i) = a_i/√(1 + b_i/a_i), where a_i and
    b_i are the last two 1/η_i. φ is jointly convex (the perspective of 1/√(1 + r)), so that its mean is at least φ of
    the means.
    """

    name = "harmonic"
    exchanged = Exchanged.MEAN

    def contribution(self, local: LocalStep) -> float:
        """Return 1/η_i."""
        return 1.0 / local.step

    def step(self, agreed: float, local: LocalStep) -> float:
        """Return 1 over the mean."""
        return 1.0 / agreed


class _OneOverLargest(StepSize):
    """γ = 1/max of one constant of each rank; 1 if no row has any curvature."""

    algorithms: ClassVar[tuple[str, ...]] = ("dlas", "saga", "graph-saga")

    def contribution(self, local: LocalStep) -> float:
        """Return L_i."""
        return local.lipschitz

    def step(self, agreed: float, local: LocalStep) -> float:
        """Return 1/max L_i."""
        return 1.0 / agreed if agreed > 0.0 else 1.0


@dataclass(frozen=True)
class LineSearch(_OneOverLargest):
    """γ = 1/max L_k: L_k is doubled until sampled rows decrease as it promises, and shrinks a little otherwise.

    M. Schmidt, N. Le Roux, F. Bach, "Minimizing finite sums with the stochastic average gradient", Math. Program. 162
    (2017), section 4.6. Every rank has its own L_k (`mpiopt.algorithms.saga.line_search`); the largest is found by
    max-consensus at each exchange. The rule needs no constants of the data and no bound on the loss's curvature.
    """

    name = "line-search"
    algorithms: ClassVar[tuple[str, ...]] = ("saga", "graph-saga")
    exchanged = Exchanged.MAX


@dataclass(frozen=True)
class Theoretical(_OneOverLargest):
    """γ = 1/max L_i <= 1/L, by one max-consensus before the first round; needs a loss with bounded curvature.

    saga uses min{3 L_max, L + 6 L_max/b} in place of L_i, L_max of single rows (`mpiopt.algorithms.saga.lipschitz`).
    """

    name = "theoretical"
    exchanged = Exchanged.MAX_ONCE


@dataclass(frozen=True)
class Mean(StepSize):
    """γ = (1/n) Σ η_i. Not safe where smoothness differs: a quadratic f_i = L_i x²/2 needs α < 2/(L̄ mean(1/L_i)).

    For two ranks with L = 1 and 100 this is α < 0.078. As in the paper, only the filtered curvature counts.
    """

    name = "mean"
    exchanged = Exchanged.MEAN

    def step(self, agreed: float, local: LocalStep) -> float:
        """Return the mean."""
        return agreed

    def curvature(self, measured: float, filtered: float) -> float:
        """Return the filtered curvature."""
        return filtered


@dataclass(frozen=True)
class Min(StepSize):
    """γ = min η_i: safe, but the rank with the largest smoothness decides; D rounds of max-consensus.

    γ grows no faster than AdGD allows: if rank j had the smallest step, γ_t <= η_j <= √(1 + ρ_j) γ_{t-1}, and ρ_j is
    at most γ_{t-1}/γ_{t-2}.
    """

    name = "min"
    exchanged = Exchanged.MAX

    def contribution(self, local: LocalStep) -> float:
        """Return -η_i."""
        return -local.step

    def step(self, agreed: float, local: LocalStep) -> float:
        """Return the smallest step."""
        return -agreed


@dataclass(frozen=True)
class Uncoordinated(StepSize):
    """Rank i moves by η_i; stalls at Σ η_i ∇f_i = 0 where gradients at the optimum differ. A negative control."""

    name = "none"
    exchanged = Exchanged.NOTHING
    common = False

    def step(self, agreed: float, local: LocalStep) -> float:
        """Return this rank's own step."""
        return local.step

    def curvature(self, measured: float, filtered: float) -> float:
        """Return the filtered curvature, as in the paper's rule."""
        return filtered


@dataclass(frozen=True)
class MeanGradient(StepSize):
    """AdGD on the mean function: its curvature is measured on the mean gradients, which all ranks hold.

    The merged form of dlas exchanges no additional numbers; the unmerged form also needs the mean of the gradients.
    saga measures the curvature on what its exchanges contain, and also has a bound from single rows
    (`mpiopt.algorithms.saga.step_size`).
    """

    name = "global"
    algorithms: ClassVar[tuple[str, ...]] = ("dlas", "saga", "graph-saga")
    exchanged = Exchanged.MEAN_GRADIENT

    def step(self, agreed: float, local: LocalStep) -> float:
        """Return AdGD's step for the mean gradient."""
        return agreed
