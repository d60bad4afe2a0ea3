"""The best time between two checkpoints: saving takes C seconds, a failure comes every M seconds on average.

J. W. Young, A first order approximation to the optimum checkpoint interval, CACM 17 (1974); J. T. Daly, A higher
order estimate of the optimum checkpoint interval for restart dumps, Future Generation Computer Systems 22 (2006).
"""

from __future__ import annotations

import math


def young(save: float, between: float) -> float:
    """Give √(2 C M), the seconds of work between two checkpoints."""
    return math.sqrt(2.0 * save * between)


def daly(save: float, between: float) -> float:
    """Give √(2 C M) (1 + √(C/(2M))/3 + C/(18 M)) − C, and M where saving takes 2 M or more."""
    if save >= 2.0 * between:
        return between
    part = save / (2.0 * between)
    return young(save, between) * (1.0 + math.sqrt(part) / 3.0 + part / 9.0) - save


def lost(interval: float, save: float, between: float, restart: float = 0.0) -> float:
    """Give the part of the wall time that saving, failures and restarts of R seconds take.

    1 − τ/(M e^{R/M} (e^{(τ + C)/M} − 1)), τ the interval: Daly's expected wall time for exponential failures.
    """
    if math.isinf(between):
        return save / (interval + save)
    whole = between * math.exp(restart / between) * math.expm1((interval + save) / between)
    return 1.0 - interval / whole
