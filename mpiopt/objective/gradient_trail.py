"""Models with their gradients, and the quasi-Newton step that they give.

J. Nocedal, Updating quasi-Newton matrices with limited storage, Math. Comp. 35 (1980), the two-loop recursion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels import quasi_newton
from mpiopt.objective.objective import Model

Matrix = NDArray[np.float64]

PAIRS = 8  # differences of models and gradients: as many as L-BFGS is mostly run with
LEAST_BEND = 1e-16  # of ‖y‖²: a pair of a step s and a change y of the gradient with a smaller s·y is rounding


@dataclass
class GradientTrail:
    """The last models with the gradients of a smooth F there.

    Parameters
    ----------
    inverse : ndarray, shape (width,)
        Inverse curvature of each column: the step without pairs.

    Examples
    --------
    >>> trail = GradientTrail(np.ones(1))
    >>> for w in (np.array([[4.0]]), np.array([[3.0]])):
    ...     trail.add(w, 2.0 * w)  # of F(w) = w²
    >>> trail.step().tolist()
    [[-3.0]]
    """

    inverse: NDArray[np.float64]
    points: list[tuple[Model, Model]] = field(default_factory=list)

    def add(self, w: Model, gradient: Model) -> None:
        """Keep copies of a model and of the gradient of F there."""
        self.points = [*self.points[-PAIRS:], (w.copy(), gradient.copy())]

    def step(self) -> Model:
        """Return the quasi-Newton step at the last model; there must be one."""
        moves = [(v - w, h - g) for (w, g), (v, h) in zip(self.points, self.points[1:], strict=False)]
        bent = [(s, y) for s, y in moves if float((s * y).sum()) > LEAST_BEND * float((y * y).sum())]
        g = self.points[-1][1]
        steps, changes = (np.array([pair[k].reshape(-1) for pair in bent]).reshape(-1, g.size) for k in (0, 1))
        return -two_loop(steps, changes, g, lambda x: self.inverse * x, rescaled=True)


def two_loop(steps: Matrix, changes: Matrix, g: Model, times: Callable[[Model], Model], rescaled: bool) -> Model:
    """Return H g, H the inverse BFGS matrix of m pairs.

    Parameters
    ----------
    steps, changes : ndarray, shape (m, g.size)
        Steps and changes of the gradient, the newest last.
    g : ndarray, shape (outputs, width)
        What is multiplied.
    times : callable
        Multiplies a model by the initial matrix.
    rescaled : bool
        Whether the initial matrix is scaled to the newest pair.

    Returns
    -------
    ndarray, shape (outputs, width)
    """
    q, bends, weights = g.reshape(-1).copy(), np.empty(len(steps)), np.empty(len(steps))
    quasi_newton.newest_first(steps, changes, q, bends, weights)
    q = times(q.reshape(g.shape)).reshape(-1)
    if len(steps) and rescaled:
        q *= bends[-1] / float(changes[-1] @ times(changes[-1].reshape(g.shape)).reshape(-1))
    quasi_newton.oldest_first(steps, changes, q, bends, weights)
    return q.reshape(g.shape)
