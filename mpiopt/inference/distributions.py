"""Tails and quantiles of the normal, t and chi-squared distributions, from SciPy, which is an optional dependency."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]


def special() -> Any:
    """Return `scipy.special`; ValueError, one line, where SciPy is not installed."""
    try:
        from scipy import special
    except ImportError as error:
        raise ValueError(f"a summary needs SciPy: {error}; pip install mpiopt[inference]") from None
    return special


def two_sided(statistic: ArrayLike, df: float) -> Vector:
    """Return P(|T| >= |statistic|) for Student's t with `df` degrees of freedom; inf: the normal distribution."""
    at = -np.abs(np.asarray(statistic, np.float64))
    return np.asarray(2.0 * (special().ndtr(at) if np.isinf(df) else special().stdtr(df, at)))


def quantile(level: float, df: float) -> float:
    """Return q with P(|T| <= q) = level, T as in `two_sided`."""
    upper = 0.5 + 0.5 * level
    return float(special().ndtri(upper) if np.isinf(df) else special().stdtrit(df, upper))


def chi_squared_tail(statistic: float, df: float) -> float:
    """Return the probability that a chi-squared number with `df` degrees of freedom is at least `statistic`."""
    return float(special().chdtrc(df, max(statistic, 0.0))) if df > 0.0 else 1.0
