"""A step that follows the curvature: AdGD with a filter.

    L_t  = ‖g_t − g_{t-1}‖ / ‖x_t − x_{t-1}‖
    Lf_t = (1 − κ) L_t + κ Lf_{t-1}
    η_t  = min(√(1 + ρ_{t-1}) η_{t-1}, α/L),   ρ_t = η_t/η_{t-1},   L from L_t and Lf_t as the rule wants it

Y. Malitsky, K. Mishchenko, "Adaptive gradient descent without descent", ICML 2020 (arXiv 1910.09529), algorithm 1,
α = 1/2 and κ = 0; the filter is that of DLAS-R-FTC (`mpiopt.algorithms.decentralised.dlas`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORTEST, LONGEST = 1e-100, 1e100  # steps, where the curvature is beyond all measure, or there is none


class Pace(NamedTuple):
    """Where the recursion is."""

    step: float  # η
    ratio: float = 1.0  # ρ
    filtered: float = 0.0  # Lf; 0: none yet

    @property
    def longest(self) -> float:
        """Give √(1 + ρ) η, the longest that the next step may be."""
        return math.sqrt(1.0 + self.ratio) * self.step


@dataclass(frozen=True)
class Tuning:
    """α and κ."""

    alpha: float = 0.5
    kappa: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < math.inf:
            raise ValueError(f"alpha must be above 0, not {self.alpha}")
        if not 0.0 <= self.kappa < 1.0:
            raise ValueError(f"kappa must be from 0 to below 1, not {self.kappa}")


def adapted(pace: Pace, slope: float, tuning: Tuning, wanted: Callable[[float, float], float] = max) -> Pace:
    """Go on after L_t = `slope`; the step is for the curvature wanted(L_t, Lf_t). NaN: nothing was seen."""
    if math.isnan(slope):
        return pace
    kept = tuning.kappa if pace.filtered else 0.0
    filtered = (1.0 - kept) * slope + kept * pace.filtered
    curvature = wanted(slope, filtered)
    wide = tuning.alpha / curvature if curvature > 0.0 else LONGEST
    step = max(min(pace.longest, wide, LONGEST), SHORTEST)
    return Pace(step, step / pace.step, filtered)


def slope(change: NDArray[Any], way: NDArray[Any]) -> float:
    """Give ‖change‖/‖way‖, NaN where there was no way."""
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.linalg.norm(way))
        return float(np.linalg.norm(change)) / length if length > 0.0 else math.nan
