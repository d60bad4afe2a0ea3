"""The minimum of a quadratic model with l1 and bounds: of g·p + ½ pᵀH p + Σ threshold |w + p|, w + p within them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.second_order.l1_quadratic import SLACK, SWEEPS, TRIES, DampedCholesky
from mpiopt.kernels.coordinate_descent import descend_in_box
from mpiopt.objective.bounds import Bounds
from mpiopt.objective.curvature import refuse_infinite
from mpiopt.objective.duality_gap import least_subgradient

Vector = NDArray[np.float64]


def largest_violation(w: Vector, g: Vector, threshold: Vector, bounds: Bounds) -> float:
    """Return the largest part of the least subgradient along which a step stays within the bounds."""
    return float(np.abs(bounds.allowed(w, least_subgradient(w, g, threshold))).max(initial=0.0))


class BoxQuadraticModel:
    """The model with one H for several g.

    Parameters
    ----------
    h
        Symmetric positive semidefinite matrix, shape (d, d). ValueError if it is not finite.
    threshold
        l1 penalty of each unknown, shape (d,).
    bounds
        Of each unknown, shape (d,).
    """

    def __init__(self, h: Vector, threshold: Vector, bounds: Bounds) -> None:
        refuse_infinite(h)
        self.h, self.threshold, self.bounds = h, threshold, bounds

    def approach(self, g: Vector, w: Vector, part: float) -> Vector:
        """Return p that leaves at most `part` of the violation of the optimality conditions.

        Coordinate descent finds which unknowns are at 0 or at a bound. Then the minimum with
        these held is solved for.

        Parameters
        ----------
        g, w
            Gradient of the smooth part, and the model, which is within the bounds, shape (d,).
        part
            Between 0 and 1.
        """
        p, hp = np.zeros_like(w), np.zeros_like(w)
        enough = part * self._violation(w, g)
        for _ in range(TRIES):
            descend_in_box(self.h, g, w, self.threshold, self.bounds.lower, self.bounds.upper, p, hp, SWEEPS)
            face = self._on_face(g, w, p)
            inside = self._within(face, w, p)
            if np.array_equal(face, inside) and self._is_minimum(g, w, face):
                return face
            if self._value(g, w, inside) < self._value(g, w, p):
                p, hp = inside, self.h @ inside
            if self._violation(w + p, g + hp) <= enough:
                break
        return p

    def _on_face(self, g: Vector, w: Vector, p: Vector) -> Vector:
        """Return the minimum if unknowns at 0 with l1, and at bounds, stay there, and the others keep their signs."""
        x, face = w + p, p.copy()
        free = (x > self.bounds.lower) & (x < self.bounds.upper) & ((x != 0.0) | (self.threshold == 0.0))
        if free.any():
            edge = (self.threshold * np.sign(x))[free]
            held = self.h[np.ix_(free, ~free)] @ p[~free]
            face[free] = -DampedCholesky(self.h[np.ix_(free, free)]).solve(g[free] + edge + held)
        return face

    def _within(self, face: Vector, w: Vector, p: Vector) -> Vector:
        """Return the step with unknowns that turn at 0 set to 0, and those beyond a bound set to it."""
        turned = (np.sign(w + face) != np.sign(w + p)) & (self.threshold > 0.0)
        x = np.where(turned, 0.0, w + face)
        outside = (x < self.bounds.lower) | (x > self.bounds.upper)
        end = np.clip(x, self.bounds.lower, self.bounds.upper)
        return np.where(turned | outside, end - w, face)

    def _is_minimum(self, g: Vector, w: Vector, p: Vector) -> bool:
        """Return whether the gradient there meets the optimality conditions up to rounding."""
        gradient = g + self.h @ p
        rounding = SLACK * np.maximum(self.threshold, np.abs(g).max(initial=0.0))
        return bool((np.abs(self._allowed(w + p, gradient)) <= rounding).all())

    def _allowed(self, x: Vector, gradient: Vector) -> Vector:
        return self.bounds.allowed(self.bounds.nearest(x), least_subgradient(x, gradient, self.threshold))

    def _violation(self, x: Vector, gradient: Vector) -> float:
        return float(np.abs(self._allowed(x, gradient)).max(initial=0.0))

    def _value(self, g: Vector, w: Vector, p: Vector) -> float:
        return float(g @ p + 0.5 * p @ (self.h @ p) + self.threshold @ np.abs(w + p))
