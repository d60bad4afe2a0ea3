"""Regularised nonlinear (Anderson) extrapolation of a sequence of iterates.

D. Scieur, A. d'Aspremont, F. Bach, Regularized nonlinear acceleration, Math. Prog. 179 (2020), algorithm RNA: with
the differences R = [x_1 − x_0, …, x_m − x_{m−1}] solve (RᵀR/‖RᵀR‖ + ρ I) z = 1, c = z/Σz, and take Σ c_i x_i.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def extrapolated(trail: Vector, regularisation: float) -> Vector:
    """Give the extrapolation of the points trail[0], trail[1] … trail[m], shape (m + 1, …); m >= 1.

    It needs no exchange: the points are equal on all ranks. The caller must check that the objective decreases.
    """
    points = trail.reshape(len(trail), -1)
    steps = np.diff(points, axis=0)
    gram = steps @ steps.T
    norm = float(np.linalg.norm(gram, 2))
    if norm == 0.0:
        return np.array(trail[-1])
    weights = np.linalg.solve(gram / norm + regularisation * np.eye(len(gram)), np.ones(len(gram)))
    weights /= weights.sum()
    return np.asarray((weights @ points[1:]).reshape(trail.shape[1:]))
