"""Columns far from 0 without an intercept, in unknowns of which nothing is left to cancel.

With x_j = c_j + δ_j the margin is u + Σ w_j δ_j, u = Σ w_j c_j. So u takes the place of one weight w_k, and the
column of another one is δ_j − δ_k c_j/c_k. The penalty of w_k = (u − Σ_j w_j c_j)/c_k is on rows of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.objective import passes

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


class CentredColumns:
    """The unknowns: weights, but u in the place of w_k.

    Parameters
    ----------
    far
        The middles c of the columns, shape (d,); 0 for columns that do not lie far from 0. If all are 0 the unknowns
        are the weights.
    """

    def __init__(self, far: Vector) -> None:
        self.far, self.k = far, int(np.argmax(np.abs(far)))
        self.any = bool(far.any())
        self.ratio = far / far[self.k] if self.any else far

    def rows(self, distances: Matrix) -> Matrix:
        """Return the rows in these unknowns, from their distances to the middles, shape (n, d)."""
        if not self.any:
            return distances
        rows = distances - distances[:, [self.k]] * self.ratio
        rows[:, self.k] = 1.0 + distances[:, self.k] / self.far[self.k]
        return np.asarray(rows)

    @property
    def own(self) -> Vector:
        """The row whose product with the unknowns is w_k."""
        own = -self.ratio
        own[self.k] = 1.0 / self.far[self.k] if self.any else 1.0
        return own

    def gradient(self, g: Vector) -> Vector:
        """Return the gradient by these unknowns of what has the gradient g by the weights, without cancelling."""
        others = g.copy()
        others[self.k] = 0.0
        return np.asarray(others + g[self.k] * self.own)

    def unknowns(self, w: Vector) -> Vector:
        """Return the unknowns of weights."""
        found = w.copy()
        found[self.k] = passes.exact_products(w[None], self.far)[0] if self.any else w[self.k]
        return found

    def weights(self, unknowns: Vector) -> Vector:
        """Return weights whose Σ w_j c_j is u as nearly as float64 has them.

        The column whose last bit moves the sum least takes up what the others have left.
        """
        w, u = unknowns.copy(), unknowns[self.k]
        if not self.any:
            return w
        w[self.k] = 0.0
        w[self.k] = (u - passes.exact_products(w[None], self.far)[0]) / self.far[self.k]
        far = np.flatnonzero(self.far)
        fine = far[
            np.argmin(np.abs(self.far[far]) * np.spacing(np.abs(w[far])) + np.where(w[far] == 0.0, np.inf, 0.0))
        ]
        left = u - passes.exact_products(w[None], self.far)[0]
        moved = w.copy()
        moved[fine] += left / self.far[fine]
        return moved if abs(u - passes.exact_products(moved[None], self.far)[0]) < abs(left) else w
