"""The minimum of a quadratic model with l1: min over p of g·p + ½ pᵀH p + Σ threshold |w + p|."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.coordinate_descent import descend, solve_cholesky
from mpiopt.objective.curvature import refuse_infinite

Vector = NDArray[np.float64]
SWEEPS, LIMIT = 20, 200  # coordinate sweeps between two tries at the exact answer; tries


class Factor:
    """Cholesky factor of D H D + damping·I, D = diag(H)^-½; damping: the smallest of 0, 1e-13, 1e-11 … that works.

    "Works" means that no pivot is below 1e-13: smaller ones are rounding, and what they would give is noise.
    """

    def __init__(self, h: Vector) -> None:
        diagonal = np.maximum(np.diag(h), 0.0)
        floor = 1e-14 * (diagonal.max(initial=0.0) or 1.0)
        self.scale: Vector = 1.0 / np.sqrt(np.maximum(diagonal, floor))
        scaled = h * self.scale * self.scale[:, None]
        self.damping = 0.0
        while not self._factored(scaled + self.damping * np.eye(len(h))):
            self.damping = max(100.0 * self.damping, 1e-13)

    def _factored(self, matrix: Vector) -> bool:
        try:
            self.lower: Vector = np.linalg.cholesky(matrix).astype(np.float64)
        except np.linalg.LinAlgError:
            return False
        return bool((np.diag(self.lower) ** 2).min(initial=1.0) >= 1e-13)

    def solve(self, b: Vector) -> Vector:
        """Give H⁻¹ b."""
        return np.asarray(self.scale * solve_cholesky(self.lower, self.scale * b))


class Quadratic:
    """The model with one H for several g: the factor is made once."""

    def __init__(self, h: Vector, threshold: Vector) -> None:
        refuse_infinite(h)
        self.h, self.threshold = h, threshold
        self.factor = None if threshold.any() else Factor(h)

    def minimise(self, g: Vector, w: Vector) -> Vector:
        """Give the minimising p at the point w with the gradient g of the smooth part."""
        return self._composite(g, w) if self.factor is None else -self.factor.solve(g)

    def _composite(self, g: Vector, w: Vector) -> Vector:
        p, hp = np.zeros_like(w), np.zeros_like(w)
        for _ in range(LIMIT):
            rest = descend(self.h, g, w, self.threshold, p, hp, SWEEPS)
            exact = self._on_support(g, w, p)
            if exact is not None:
                return exact
            if rest == 0.0:
                break
        return p

    def _on_support(self, g: Vector, w: Vector, p: Vector) -> Vector | None:
        """Solve with the signs of w + p held fixed; None where the answer has other signs or is no minimum."""
        sign = np.sign(w + p)
        free = (sign != 0) | (self.threshold == 0)
        edge = self.threshold * sign
        exact = np.where(free, p, -w)
        held = self.h[np.ix_(free, ~free)] @ exact[~free]
        exact[free] = -Factor(self.h[np.ix_(free, free)]).solve((g + edge)[free] + held)
        turned = (np.sign(w + exact) != sign) & (self.threshold > 0) & free
        outside = np.abs(g + self.h @ exact) > self.threshold * (1 + 1e-9)
        return None if turned.any() or (outside & ~free).any() else exact
