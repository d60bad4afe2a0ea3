"""The minimum of a quadratic model with an l1 penalty: min over p of g·p + ½ pᵀH p + Σ threshold |w + p|."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.second_order.interior_point import ClippedProblem, minimise
from mpiopt.kernels.coordinate_descent import descend, solve_cholesky
from mpiopt.kernels.signs_held import SignLimits, approach_by_signs, approach_each_by_signs
from mpiopt.objective.curvature import refuse_infinite
from mpiopt.objective.curvature_root import ALONE, CurvatureRoot
from mpiopt.objective.duality_gap import least_subgradient
from mpiopt.objective.losses.base import ClippedLine

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
SWEEPS = 20  # of coordinate descent between two tries to solve on the support exactly
TRIES = 200  # at most; 4000 sweeps then stand for the minimum
EMPTY_COLUMN = 1e-14  # of the largest diagonal element: smaller ones are rounding
SMALLEST_PIVOT = 1e-13  # of the factor, on a unit diagonal: smaller pivots are rounding, their solutions noise
FIRST_DAMPING, DAMPING_GROWTH = 1e-13, 100.0  # on a unit diagonal: about the rounding of a sum, and fast enough
SLACK = 1e-9  # of a threshold: a gradient that exceeds it by less belongs to a zero
FEW = 150  # unknowns: with so many the loops of the kernel take less time than calls of LAPACK
LIMITS = SignLimits(SWEEPS, TRIES, EMPTY_COLUMN, SMALLEST_PIVOT, FIRST_DAMPING, DAMPING_GROWTH, SLACK)


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
    root
        Of `h`, where `h` has lost what matters to rounding.
    """

    def __init__(self, h: Vector, threshold: Vector, root: CurvatureRoot | None = None) -> None:
        refuse_infinite(h)
        self.h, self.threshold, self.root = h, threshold, root
        self.factor = None if threshold.any() else root or DampedCholesky(h)

    def minimise(self, g: Vector, w: Vector) -> Vector:
        """Return the minimising p, shape (d,), at the point w with the gradient g of the smooth part."""
        if self.factor is not None:
            return -self.factor.solve(g)
        return self._composite(g, w) if self.root is None else self._by_interior_point(g, w, self.root.matrix)

    def approach(self, g: Vector, w: Vector, part: float) -> Vector:
        """Return p that leaves at most `part` of the violation of the optimality conditions; arguments as `minimise`.

        Coordinate descent finds the signs; then the minimum with these signs held is solved for. If it has other
        signs, the step leads towards it as far as the model falls (feature-sign search: H. Lee, A. Battle, R. Raina,
        A. Ng, NeurIPS 2006). Near the end of a run the first solution is the minimum. After 200 tries it returns what
        it has: rounding bounds what a nearly singular H allows.
        """
        if self.factor is not None:
            return -self.factor.solve(g)
        if len(w) <= FEW:
            h = np.ascontiguousarray(self.h)
            return np.asarray(approach_by_signs(h, g, w, self.threshold, np.zeros_like(w), part, LIMITS))
        p, hp = np.zeros_like(w), np.zeros_like(w)
        enough = part * largest_violation(w, g, self.threshold)
        for _ in range(TRIES):
            descend(self.h, g, w, self.threshold, p, hp, SWEEPS)
            exact = self._with_signs_held(g, w, p)
            if self._is_minimum(g, w, p, exact):
                return exact
            p = self._towards(exact, g, w, p)
            hp = self.h @ p
            if largest_violation(w + p, g + hp, self.threshold) <= enough:
                break
        return p

    def _composite(self, g: Vector, w: Vector) -> Vector:
        """Alternate coordinate descent, which finds the support, with exact solutions on the support."""
        p, hp = np.zeros_like(w), np.zeros_like(w)
        for _ in range(TRIES):
            largest_change = descend(self.h, g, w, self.threshold, p, hp, SWEEPS)
            exact = self._with_signs_held(g, w, p)
            if self._is_minimum(g, w, p, exact):
                return exact
            if largest_change == 0.0:
                break
        return p

    def _by_interior_point(self, g: Vector, w: Vector, rows: Matrix) -> Vector:
        """Minimise ½ ‖R (v - w)‖² + g·v + Σ threshold |v|, v = w + p."""
        unclipped, none = np.full(len(rows), np.inf), np.zeros_like(g)
        line = ClippedLine(1.0, rows @ w, -unclipped, unclipped)
        problem = ClippedProblem(rows, np.ones(len(rows)), line, none, self.threshold, g)
        bends = (rows**2).sum(axis=0)
        gain = 0.5 * float(np.divide(g * g, bends, out=none.copy(), where=bends > 0.0).sum())
        return minimise(problem, w, gain, ALONE).w - w

    def _with_signs_held(self, g: Vector, w: Vector, p: Vector) -> Vector:
        """Return the minimum if the penalty were linear with the signs of w + p, and zeros stay zeros."""
        sign = np.sign(w + p)
        free = (sign != 0) | (self.threshold == 0)
        edge = self.threshold * sign
        exact = np.where(free, p, -w)
        held = self.h[np.ix_(free, ~free)] @ exact[~free]
        exact[free] = -DampedCholesky(self.h[np.ix_(free, free)]).solve((g + edge)[free] + held)
        return exact

    def _turned(self, w: Vector, p: Vector, exact: Vector) -> NDArray[np.bool_]:
        """Return which weights of w + p change their sign on the way to w + exact."""
        sign = np.sign(w + p)
        return np.asarray((np.sign(w + exact) != sign) & (self.threshold > 0) & (sign != 0))

    def _is_minimum(self, g: Vector, w: Vector, p: Vector, exact: Vector) -> bool:
        """Return whether the solution has the signs of w + p, and its zeros meet their optimality conditions."""
        free = (w + p != 0) | (self.threshold == 0)
        outside = np.abs(g + self.h @ exact) > self.threshold * (1 + SLACK)
        return not (self._turned(w, p, exact).any() or (outside & ~free).any())

    def _towards(self, exact: Vector, g: Vector, w: Vector, p: Vector) -> Vector:
        """Return the solution, with weights that turned at 0 if that is better than p, else up to the first turn."""
        turned = self._turned(w, p, exact)
        if not turned.any():
            return exact
        clipped = np.where(turned, -w, exact)
        if self._value(g, w, clipped) < self._value(g, w, p):
            return clipped
        way = np.ones_like(p)
        way[turned] = (w + p)[turned] / (p - exact)[turned]
        return np.where(way == way.min(), np.where(turned, -w, exact), p + way.min() * (exact - p))

    def _value(self, g: Vector, w: Vector, p: Vector) -> float:
        """Return the model's value at p."""
        return float(g @ p + 0.5 * p @ (self.h @ p) + self.threshold @ np.abs(w + p))


def approach_each(h: list[Matrix], ridge: Matrix, g: Matrix, w: Matrix, threshold: Matrix, part: float) -> Matrix:
    """Return the p of `QuadraticModel.approach` for neighbouring models, (K, d), each begun where the last has ended.

    Parameters
    ----------
    h
        The curvature of the losses: K matrices (d, d), or one for all.
    ridge, g, w, threshold
        Diagonal to be added, gradients, points and l1 penalties, shape (K, d).
    part
        Of the violation.
    """
    if w.shape[1] <= FEW and threshold.any(axis=1).all():
        every = np.stack(h)
        refuse_infinite(every)
        return np.asarray(approach_each_by_signs(every, ridge, g, w, threshold, part, LIMITS))
    found = np.zeros_like(w)
    for k in range(len(w)):
        bent = h[min(k, len(h) - 1)] + np.diag(ridge[k])
        found[k] = QuadraticModel(bent, threshold[k]).approach(g[k], w[k], part)
    return found


def first_order_change(w: Vector, g: Vector, p: Vector, threshold: Vector) -> Vector:
    """Return each weight's part of the change g·p + h(w + p) - h(w) <= 0, exact in the l1 penalty h.

    Parameters
    ----------
    w, g, p, threshold
        Weights, gradient of the smooth part, step and l1 penalty, of shapes that fit together.
    """
    sign = np.sign(w)
    kink = threshold * (np.abs(w + p) - np.abs(w))
    same = sign * np.sign(w + p) > 0  # where g and l1 cancel, they are added before the product
    return np.where(same, (g + sign * threshold) * p, g * p + kink)


def largest_violation(w: Vector, g: Vector, threshold: Vector) -> float:
    """Return the largest part of the least subgradient, which is 0 at the optimum."""
    return float(np.abs(least_subgradient(w, g, threshold)).max(initial=0.0))
