"""Line searches along a direction; every trial is one exact evaluation over all ranks.

A. S. Lewis, M. L. Overton, Math. Prog. 141 (2013), algorithm 2.6; with l1: G. Andrew, J. Gao, ICML 2007 (OWL-QN);
backtracking: J. Nocedal, S. Wright, Numerical Optimization (2006), algorithm 3.1.
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
ARMIJO = 1e-4  # of the decrease that the slope promises: with less a step is too long
WOLFE = 0.9  # of the slope at the start: with a steeper slope a step is too short
ROUNDING = 1e-14  # relative difference of two objective values that is only rounding


class Iterate(Protocol):
    """A model with its exact value and gradient."""

    w: Replicated  # (outputs, width)
    value: Replicated  # (1,) F(w)
    gradient: Replicated  # (outputs, width) of the loss part


class TrialPoint(NamedTuple):
    """A point on the line, and its exact evaluation."""

    t: float  # step length
    w: Model
    exact: Evaluation
    slope: float  # of F along the direction


def wolfe_search(
    objective: Objective, channel: Channel, state: Iterate, p: Model, g: Model, t: float, trials: int
) -> tuple[TrialPoint | None, int]:
    """Find a step length with the weak Wolfe conditions, by doubling and bisection.

    Parameters
    ----------
    objective, channel, state
        Where the search starts; all ranks search together.
    p, g
        Direction and gradient of F, shape (outputs, width).
    t
        First step length.
    trials
        Trials at most.

    Returns
    -------
    point, trials
        The last point with sufficient decrease, None if there is none, and the number of trials.
    """
    low, high, start, best = 0.0, np.inf, float((g * p).sum()), None
    slack = ROUNDING * abs(float(state.value[0]))
    for trial in range(1, trials + 1):
        point = evaluate_trial(objective, channel, state.w + t * p, p, t)
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
    """Halve the step until the point, projected onto the orthant of w, decreases F enough; as `wolfe_search`."""
    orthant = np.where(state.w != 0, np.sign(state.w), -np.sign(g))
    unpenalised = objective.threshold == 0
    for trial in range(1, trials + 1):
        w = state.w + t * p
        w = np.where(unpenalised | (w * orthant > 0), w, 0.0)
        point = evaluate_trial(objective, channel, w, p, t)
        bound = float(state.value[0]) + ARMIJO * float((g * (w - state.w)).sum())
        if point.exact.value <= bound + ROUNDING * abs(float(state.value[0])):
            return point, trial
        t *= 0.5
    return None, trials


def backtracking_search(
    objective: Objective, channel: Channel, state: Iterate, p: Model, decrease: float, trials: int
) -> tuple[TrialPoint | None, int]:
    """Try p, p/2, p/4 … until F falls enough of the expected `decrease` of p; returns as `wolfe_search`."""
    t, value = 1.0, float(state.value[0])
    for trial in range(1, trials + 1):
        point = evaluate_trial(objective, channel, state.w + t * p, p, t)
        if point.exact.value <= value - ARMIJO * t * decrease + ROUNDING * abs(value):
            return point, trial
        t *= 0.5
    return None, trials


def evaluate_trial(objective: Objective, channel: Channel, w: Model, p: Model, t: float) -> TrialPoint:
    """Evaluate exactly at w, which is reached with step length t along p; collective."""
    exact = evaluate_exact(objective, w, channel)
    with np.errstate(over="ignore", invalid="ignore"):  # after a step that is too long nothing is finite
        slope = float(((exact.gradient + objective.ridge * w) * p).sum())
    return TrialPoint(t, w, exact, slope)


def move_to(state: Iterate, w: Model, exact: Evaluation) -> None:
    """Store a model with its value and gradient in the state."""
    state.w[...], state.value[0], state.gradient[...] = w, exact.value, exact.gradient
