"""AdGD: a step that follows the measured curvature, here with a filter.

    L_t  = ‖g_t − g_{t-1}‖ / ‖x_t − x_{t-1}‖
    Lf_t = (1 − κ) L_t + κ Lf_{t-1}
    η_t  = min(√(1 + ρ_{t-1}) η_{t-1}, α/L),   ρ_t = η_t/η_{t-1},   L computed from L_t and Lf_t by the rule

Y. Malitsky, K. Mishchenko, "Adaptive gradient descent without descent", ICML 2020 (arXiv 1910.09529), algorithm 1,
has α = 1/2 and κ = 0. The filter is that of DLAS-R-FTC (`mpiopt.algorithms.decentralised.dlas`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORTEST, LONGEST = 1e-100, 1e100  # bounds of a step: the curvature may overflow, or be 0


class AdgdState(NamedTuple):
    """The state of the recursion."""

    step: float  # η
    ratio: float = 1.0  # ρ
    filtered: float = 0.0  # Lf; 0 before the first measurement

    @property
    def longest(self) -> float:
        """√(1 + ρ) η, the upper limit of the next step."""
        return math.sqrt(1.0 + self.ratio) * self.step


@dataclass(frozen=True)
class AdgdOptions:
    """The two constants of the recursion.

    Parameters
    ----------
    alpha
        α, the product of step and curvature; 1/2 is the largest value for which AdGD is proven.
    kappa
        κ, the weight of the past in the filtered curvature; 0 filters nothing.
    """

    alpha: float = 0.5
    kappa: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < math.inf:
            raise ValueError(f"alpha must be above 0, not {self.alpha}")
        if not 0.0 <= self.kappa < 1.0:
            raise ValueError(f"kappa must be from 0 to below 1, not {self.kappa}")


def next_state(
    before: AdgdState, measured: float, options: AdgdOptions, curvature: Callable[[float, float], float] = max
) -> AdgdState:
    """Return the state after L_t = `measured`, with a step for the curvature that the rule makes of L_t and Lf_t.

    NaN for L_t means that nothing was measured: the state stays.
    """
    if math.isnan(measured):
        return before
    kept = options.kappa if before.filtered else 0.0
    filtered = (1.0 - kept) * measured + kept * before.filtered
    chosen = curvature(measured, filtered)
    by_curvature = options.alpha / chosen if chosen > 0.0 else LONGEST
    step = max(min(before.longest, by_curvature, LONGEST), SHORTEST)
    return AdgdState(step, step / before.step, filtered)


def measured_curvature(gradient_change: NDArray[Any], move: NDArray[Any]) -> float:
    """Return ‖gradient_change‖/‖move‖; NaN if nothing moved."""
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.linalg.norm(move))
        return float(np.linalg.norm(gradient_change)) / length if length > 0.0 else math.nan
