"""A search along a direction that needs no pass over the rows, on margins that are kept.

The margins of w + t p are z + t (P x_i): a trial costs n losses and an exchange of two numbers. J. Nocedal,
S. Wright, Numerical Optimization (2006), section 3.5; trial lengths are those of the secant method within a bracket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.second_order.line_search import ARMIJO, ROUNDING
from mpiopt.compress.channel import Channel
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class MarginSearchTuning:
    """Constants of the search."""

    slope: float = 0.1  # of the slope at the start: with less the length is good enough, the next direction does more
    trials: int = 40  # of a length at most; each may shrink the bracket to a tenth
    growth: float = 10.0  # factor on a length that is too short, at most
    inside: float = 0.1  # part of the bracket that a trial keeps away from its ends


TUNING = MarginSearchTuning()


class Line(NamedTuple):
    """A direction p as a search sees it: the margins, and the ridge ½ Σ ridge (w + t p)² = ½ a + b t + ½ c t²."""

    margins: Matrix  # (n, outputs) z_i of this rank's rows at the start
    along: Matrix  # (n, outputs) P x_i
    value: float  # F at the start
    slope: float  # of F there
    a: float
    b: float
    c: float


class Length(NamedTuple):
    """A step length; 0 if F does not fall."""

    t: float
    value: float  # F there
    slope: float  # of F there
    trials: int


class _Trial(NamedTuple):
    """F at one length."""

    value: float
    slope: float


def search_length(line: Line, objective: Objective, channel: Channel) -> Length:
    """Find a length with sufficient decrease at which the slope is a tenth of that at the start; collective.

    Parameters
    ----------
    line
        The direction.
    objective, channel
        Where the search is; all ranks search together.

    Returns
    -------
    Length
        The best length with sufficient decrease, if the trials end before the slope is small.
    """
    best = Length(0.0, line.value, line.slope, 0)
    if not line.slope < 0.0:
        return best
    low, high, t = (0.0, line.slope), (np.inf, np.inf), 1.0
    for trials in range(1, TUNING.trials + 1):
        value, slope = _at(t, line, objective, channel)
        finite = np.isfinite(value) and np.isfinite(slope)
        bound = line.value + ARMIJO * t * line.slope + ROUNDING * abs(line.value)
        if finite and value <= bound:
            if best.t == 0.0 or value <= best.value:
                best = Length(t, value, slope, trials)
            if abs(slope) <= TUNING.slope * -line.slope:
                return Length(t, value, slope, trials)
        if finite and slope < 0.0:
            low = (t, slope)
        else:
            high = (t, slope if finite else np.inf)
        t = _next_length(low, high, line.slope)
    return best._replace(trials=TUNING.trials)


def _at(t: float, line: Line, objective: Objective, channel: Channel) -> _Trial:
    """Evaluate F and its slope at one length; not finite where a loss overflows."""
    shard, loss = objective.shard, objective.loss
    z, s = line.margins + t * line.along, shard.weight / shard.total
    with np.errstate(over="ignore", invalid="ignore"):
        slopes = (loss.slope(z, shard.label) * line.along).sum(axis=1)
        value, slope = channel.sum(float(s @ loss.value(z, shard.label)), float(s @ slopes))
    return _Trial(float(value) + 0.5 * line.a + t * (line.b + 0.5 * t * line.c), float(slope) + line.b + t * line.c)


def _next_length(low: tuple[float, float], high: tuple[float, float], start: float) -> float:
    """Return where the secant of the slopes is 0, within the bracket, or beyond the longest length so far."""
    if high[0] == np.inf:
        longest = TUNING.growth * low[0]
        return min(longest, low[0] * start / (start - low[1])) if low[1] > start else longest
    length = high[0] - low[0]
    part = low[1] / (low[1] - high[1]) if np.isfinite(high[1]) else TUNING.inside
    return low[0] + length * min(max(part, TUNING.inside), 1.0 - TUNING.inside)
