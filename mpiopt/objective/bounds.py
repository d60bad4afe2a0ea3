"""Bounds on the weights of columns: h_j(w) = l1 |w| + (l2/2) w² where lower_j <= w <= upper_j, ∞ elsewhere.

The conjugate of h_j is taken on by the weight u_j that a soft threshold and the bounds leave of v_j/l2, so that

    h_j(w) + h_j*(v) − v w = (l2/2) (u − w)² + (u − w) (v − l2 u) + l1 (|w| − |u|),

a sum of two terms that are not negative. It is finite where l2 > 0, or where v points to a finite bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

ULPS = 4.0 * float(np.finfo(np.float64).eps)  # of a bound: a weight that near to it is at it
BELOW_ONE = 1.0 - ULPS  # factor on a scaling of slopes that rounding must not let exceed a threshold


@dataclass(frozen=True, eq=False)
class Bounds:
    """The least and the largest weight of each column, in the columns of an objective; infinite for none.

    Attributes
    ----------
    lower, upper : ndarray, shape (width,)
        lower <= upper; infinite at the intercept and the padding.

    Examples
    --------
    >>> import numpy as np
    >>> bounds = Bounds(np.array([0.0, -1.0]), np.array([np.inf, 1.0]))
    >>> bounds.nearest(np.array([[-0.5, 3.0]])).tolist()
    [[0.0, 1.0]]
    """

    lower: Vector
    upper: Vector

    def of_columns(self, columns: NDArray[np.int64]) -> Bounds:
        """Return the bounds of some columns."""
        return Bounds(self.lower[columns], self.upper[columns])

    def nearest(self, w: Vector) -> Vector:
        """Return the nearest weights within the bounds; one that rounding separates from a bound is set to it."""
        at_lower = np.isfinite(self.lower) & (w - self.lower <= ULPS * np.abs(self.lower))
        at_upper = np.isfinite(self.upper) & (self.upper - w <= ULPS * np.abs(self.upper))
        return np.where(at_lower, self.lower, np.where(at_upper, self.upper, w))

    def reached(self, w: Vector) -> NDArray[np.bool_]:
        """Return which weights are at a bound, up to rounding."""
        near = self.nearest(w)
        return np.asarray((near == self.lower) | (near == self.upper))

    def allowed(self, w: Vector, g: Vector) -> Vector:
        """Return the least subgradients g of weights, 0 where a step along −g would leave the bounds."""
        blocked = ((w <= self.lower) & (g > 0.0)) | ((w >= self.upper) & (g < 0.0))
        return np.where(blocked, 0.0, g)

    def gaps(self, w: Vector, v: Vector, l1: Vector, l2: Vector) -> Vector:
        """Compute h_j(w_j) + h_j*(v_j) − v_j w_j, of the shape of w and v (outputs, d); inf where it has no bound."""
        rest = np.maximum(np.abs(v) - l1, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.where(rest > 0.0, np.sign(v) * rest / l2, 0.0)
        u = np.clip(u, self.lower, self.upper)
        finite = np.isfinite(u)
        u = np.where(finite, u, w)
        step = u - w
        found = 0.5 * l2 * step**2 + np.maximum(step * (v - l2 * u) + l1 * (np.abs(w) - np.abs(u)), 0.0)
        return np.where(finite, found, np.inf)

    def scaling(self, v: Vector, l1: Vector, l2: Vector) -> float:
        """Return the largest α in [0, 1] with which the gap at α v is finite."""
        to_infinity = np.where(v > 0.0, self.upper == np.inf, self.lower == -np.inf)
        limits = (np.abs(v) > l1) & (l2 == 0.0) & to_infinity
        least = np.min(np.divide(l1, np.abs(v), out=np.ones_like(v), where=limits), initial=1.0)
        return float(least) * BELOW_ONE if least < 1.0 else 1.0
