"""Columns far from 0 without an intercept, as the interior-point method takes them: nothing is left to cancel.

With x_j = c_j + δ_j the margin is u + Σ w_j δ_j, u = Σ w_j c_j. So u takes the place of one weight w_k, and the
column of another one is δ_j − δ_k c_j/c_k. The penalty of w_k = (u − Σ_j w_j c_j)/c_k is on rows of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.second_order.interior_point import ClippedProblem
from mpiopt.objective import passes
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]


class CentredColumns:
    """The unknowns: weights, but u in the place of w_k.

    Parameters
    ----------
    far
        The middles c of the columns, shape (d,); 0 for columns that do not lie far from 0.
    """

    def __init__(self, far: Vector) -> None:
        self.far, self.k = far, int(np.argmax(np.abs(far)))
        self.ratio = far / far[self.k]

    def problem(self, problem: ClippedProblem, objective: Objective, first: bool) -> ClippedProblem:
        """Return a problem in these unknowns; rank 0, the `first`, has the rows of w_k's penalty."""
        n, k = len(problem.rows), self.k
        distances = passes.dense_block(objective.distances, slice(0, n), len(self.far))
        rows = distances - distances[:, [k]] * self.ratio
        rows[:, k] = 1.0 + distances[:, k] / self.far[k]
        own = -self.ratio
        own[k] = 1.0 / self.far[k]
        kinds = [(problem.ridge[k], np.inf), (np.inf, problem.l1[k])]  # bend and bound
        kinds = [(bend, bound) for bend, bound in kinds if first and bend > 0.0 and bound > 0.0]
        bends, bounds = (np.array([kind[i] for kind in kinds]) for i in range(2))
        line = problem.line._replace(
            bend=np.append(np.broadcast_to(problem.line.bend, n), bends),
            centre=np.append(problem.line.centre, 0.0 * bounds.astype(bool)),
            low=np.append(problem.line.low, -bounds),
            high=np.append(problem.line.high, bounds),
        )
        free = np.arange(len(own)) != k
        rows, weight = np.vstack([rows, *([own] * len(kinds))]), np.append(problem.weight, np.ones(len(kinds)))
        return ClippedProblem(rows, weight, line, problem.ridge * free, problem.l1 * free, problem.linear)

    def unknowns(self, w: Vector) -> Vector:
        """Return the unknowns of weights."""
        found = w.copy()
        found[self.k] = passes.exact_products(w[None], self.far)[0]
        return found

    def weights(self, unknowns: Vector) -> Vector:
        """Return weights whose Σ w_j c_j is u as nearly as float64 has them.

        The column whose last bit moves the sum least takes up what the others have left.
        """
        w, u = unknowns.copy(), unknowns[self.k]
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
