"""Searches for a step length along a direction, of which every trial is one exact evaluation over all ranks.

A. S. Lewis, M. L. Overton, Math. Prog. 141 (2013), algorithm 2.6; with l1: G. Andrew, J. Gao, ICML 2007 (OWL-QN).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.core.state import Replicated
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Objective

Model = NDArray[np.float64]
ARMIJO, WOLFE = 1e-4, 0.9
ROUNDING = 1e-14  # two objective values nearer than this, relatively, are not told apart


class Iterate(Protocol):
    """Where a search begins."""

    w: Replicated  # (outputs, width)
    value: Replicated  # (1,) F(w)


class TrialPoint(NamedTuple):
    """A trial point of the line search with everything that one exact evaluation gives."""

    t: float
    w: Model
    exact: Evaluation
    slope: float  # of F along the direction


def wolfe_search(
    objective: Objective, channel: Channel, state: Iterate, p: Model, g: Model, t: float, trials: int
) -> tuple[TrialPoint | None, int]:
    """Find a step length with the weak Wolfe conditions by doubling and interpolation; None if there is none."""
    low, high, start, best = 0.0, np.inf, float((g * p).sum()), None
    slack = ROUNDING * abs(float(state.value[0]))
    for trial in range(1, trials + 1):
        point = visit(objective, channel, state.w + t * p, p, t)
        bound = float(state.value[0]) + ARMIJO * t * start + slack
        if not np.isfinite(point.exact.value) or point.exact.value > bound or point.slope > -start:
            high = t
            t = 0.5 * (low + high)
        elif point.slope < WOLFE * start:
            best, low = point, t
            t = 2 * t if high == np.inf else 0.5 * (low + high)
        else:
            return point, trial
    return best, trials


def orthant_search(
    objective: Objective, channel: Channel, state: Iterate, p: Model, g: Model, t: float, trials: int
) -> tuple[TrialPoint | None, int]:
    """Halve the step until the point, projected onto the orthant of w, decreases F sufficiently."""
    orthant = np.where(state.w != 0, np.sign(state.w), -np.sign(g))
    free = objective.threshold == 0
    for trial in range(1, trials + 1):
        w = state.w + t * p
        w = np.where(free | (w * orthant > 0), w, 0.0)
        point = visit(objective, channel, w, p, t)
        bound = float(state.value[0]) + ARMIJO * float((g * (w - state.w)).sum())
        if point.exact.value <= bound + ROUNDING * abs(float(state.value[0])):
            return point, trial
        t *= 0.5
    return None, trials


def visit(objective: Objective, channel: Channel, w: Model, p: Model, t: float) -> TrialPoint:
    """Evaluate everywhere at w, reached with step length t along p."""
    exact = evaluate_exact(objective, w, channel)
    return TrialPoint(t, w, exact, float(((exact.gradient + objective.ridge * w) * p).sum()))
