"""The minimum of a quadratic model with an l1 penalty: min over p of g·p + ½ pᵀH p + Σ threshold |w + p|."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.coordinate_descent import descend, solve_cholesky
from mpiopt.objective.curvature import refuse_infinite

Vector = NDArray[np.float64]
SWEEPS = 20  # of coordinate descent between two tries to solve on the support exactly
TRIES = 200  # at most; 4000 sweeps then stand for the minimum
EMPTY_COLUMN = 1e-14  # of the largest diagonal element: smaller ones are rounding
SMALLEST_PIVOT = 1e-13  # of the factor, on a unit diagonal: smaller pivots are rounding, their solutions noise
FIRST_DAMPING, DAMPING_GROWTH = 1e-13, 100.0  # on a unit diagonal: about the rounding of a sum, and fast enough
SLACK = 1e-9  # of a threshold: a gradient that exceeds it by less belongs to a zero


class DampedCholesky:
    """Cholesky factor of D H D + damping·I, D = diag(H)^-½.

    The damping is the first of 0, 1e-13, 1e-11 … that works. A damping works if no pivot is below SMALLEST_PIVOT.

    Parameters
    ----------
    h
        Symmetric positive semidefinite matrix, shape (d, d).
    """

    def __init__(self, h: Vector) -> None:
        diagonal = np.maximum(np.diag(h), 0.0)
        floor = EMPTY_COLUMN * (diagonal.max(initial=0.0) or 1.0)
        self.scale: Vector = 1.0 / np.sqrt(np.maximum(diagonal, floor))
        scaled = h * self.scale * self.scale[:, None]
        self.damping = 0.0
        while not self._factored(scaled + self.damping * np.eye(len(h))):
            self.damping = max(DAMPING_GROWTH * self.damping, FIRST_DAMPING)

    def _factored(self, matrix: Vector) -> bool:
        """Factor the matrix; return whether that worked."""
        try:
            self.lower: Vector = np.linalg.cholesky(matrix).astype(np.float64)
        except np.linalg.LinAlgError:
            return False
        return bool((np.diag(self.lower) ** 2).min(initial=1.0) >= SMALLEST_PIVOT)

    def solve(self, b: Vector) -> Vector:
        """Return H⁻¹ b, shape (d,)."""
        return np.asarray(self.scale * solve_cholesky(self.lower, self.scale * b))


class QuadraticModel:
    """The model with one H for several g. Without l1 the factor is computed once.

    Parameters
    ----------
    h
        Symmetric positive semidefinite matrix, shape (d, d). ValueError if it is not finite.
    threshold
        l1 penalty of each unknown, shape (d,).
    """

    def __init__(self, h: Vector, threshold: Vector) -> None:
        refuse_infinite(h)
        self.h, self.threshold = h, threshold
        self.factor = None if threshold.any() else DampedCholesky(h)

    def minimise(self, g: Vector, w: Vector) -> Vector:
        """Return the minimising p, shape (d,), at the point w with the gradient g of the smooth part."""
        return self._composite(g, w) if self.factor is None else -self.factor.solve(g)

    def _composite(self, g: Vector, w: Vector) -> Vector:
        """Alternate coordinate descent, which finds the support, with exact solutions on the support."""
        p, hp = np.zeros_like(w), np.zeros_like(w)
        for _ in range(TRIES):
            largest_change = descend(self.h, g, w, self.threshold, p, hp, SWEEPS)
            exact = self._on_support(g, w, p)
            if exact is not None:
                return exact
            if largest_change == 0.0:
                break
        return p

    def _on_support(self, g: Vector, w: Vector, p: Vector) -> Vector | None:
        """Solve with the signs of w + p held fixed; None if the solution has other signs or is not a minimum."""
        sign = np.sign(w + p)
        free = (sign != 0) | (self.threshold == 0)
        edge = self.threshold * sign
        exact = np.where(free, p, -w)
        held = self.h[np.ix_(free, ~free)] @ exact[~free]
        exact[free] = -DampedCholesky(self.h[np.ix_(free, free)]).solve((g + edge)[free] + held)
        turned = (np.sign(w + exact) != sign) & (self.threshold > 0) & free
        outside = np.abs(g + self.h @ exact) > self.threshold * (1 + SLACK)
        return None if turned.any() or (outside & ~free).any() else exact
