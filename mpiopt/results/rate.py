"""The linear rate of a run: a straight line through the logarithms of its certificates, with an interval."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

METHOD = (
    "least squares of ln(certificate) over epochs, from the first evaluation whose certificate is below the "
    "geometric mean of the first and the smallest one; 95 % interval by Student's t, with the number of evaluations "
    "multiplied by (1 - r)/(1 + r) if neighbouring residuals have a correlation r > 0"
)
FEWEST = 4  # evaluations: a line through fewer has no interval worth stating
MOST_CORRELATED = 0.95  # limit on r, so that some evaluations remain
# 97.5 % quantiles for degrees of freedom that are too few for the series in `student`.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}


class Line(NamedTuple):
    """The line ln y = a + slope · x by least squares; NaN if fewer than three points are positive."""

    slope: float
    error: float  # standard error of the slope, for independent residuals
    r2: float


class Rate(NamedTuple):
    """The factor by which a certificate shrinks in an epoch."""

    factor: float
    low: float  # of the 95 % interval
    high: float
    points: int  # evaluations that the line goes through


def line(x: NDArray[np.float64], y: NDArray[np.float64]) -> Line:
    """Fit a straight line to ln y over x, where y is positive; x and y are (n,)."""
    x, y = x[y > 0.0], np.log(y[y > 0.0])
    if len(x) < 3:
        return Line(math.nan, math.nan, math.nan)
    dx, dy = x - x.mean(), y - y.mean()
    spread, total = float(dx @ dx), float(dy @ dy)
    slope = float(dx @ dy) / spread
    rest = float(((dy - slope * dx) ** 2).sum())
    return Line(slope, math.sqrt(rest / (len(x) - 2) / spread), 1.0 - rest / total if total > 0.0 else 0.0)


def rate(epochs: NDArray[np.float64], certificates: NDArray[np.float64]) -> Rate | None:
    """Fit the linear rate as METHOD says; None if there are too few evaluations, or if they do not fall."""
    usable = np.isfinite(certificates) & (certificates > 0.0)
    x, y = epochs[usable], certificates[usable]
    if len(x) < FEWEST:
        return None
    begin = int(np.argmax(y <= math.sqrt(y[0] * y.min())))
    x, y = x[begin:], y[begin:]
    fit = line(x, y) if len(x) >= FEWEST and np.ptp(x) > 0.0 else None
    if fit is None or fit.slope >= 0.0:
        return None
    half = width(x, np.log(y), fit)
    slope = fit.slope
    return Rate(math.exp(slope), math.exp(slope - half), math.exp(slope + half), len(x))


def width(x: NDArray[np.float64], y: NDArray[np.float64], fit: Line) -> float:
    """Return half the width of the slope's interval."""
    n, rest = len(x), (y - y.mean()) - fit.slope * (x - x.mean())
    power = float(rest @ rest)
    r = min(MOST_CORRELATED, max(0.0, float(rest[1:] @ rest[:-1]) / power)) if power > 0.0 else 0.0
    effective = max(3.0, n * (1.0 - r) / (1.0 + r))
    return fit.error * math.sqrt((n - 2) / (effective - 2)) * student(effective - 2)


def student(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t to 0.3 % (series in 1/freedom; Abramowitz and Stegun 26.7.5)."""
    if freedom <= 8.0:
        return float(np.interp(freedom, list(T95), list(T95.values())))
    z = NormalDist().inv_cdf(0.975)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
