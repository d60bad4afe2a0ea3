"""Regularised nonlinear (Anderson) extrapolation of a sequence of models.

D. Scieur, A. d'Aspremont, F. Bach, Regularized nonlinear acceleration, Math. Prog. 179 (2020), algorithm RNA: with
the differences R = [x_1 − x_0, …, x_m − x_{m−1}] solve (RᵀR/‖RᵀR‖ + ρ I) z = 1, c = z/Σz, and take Σ c_i x_i.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.compress.channel import Channel
from mpiopt.objective.evaluation import Model, evaluate_exact
from mpiopt.objective.objective import Objective


class Extrapolation(NamedTuple):
    """The best of the extrapolated models."""

    w: Model
    value: float  # F at w
    epochs: float  # passes over all rows that it cost to find it


def best_extrapolation(trail: NDArray[np.float64], objective: Objective, channel: Channel) -> Extrapolation:
    """Extrapolate with each regularisation of `SagaTuning.extrapolations`; return the best model; collective."""
    tries = [extrapolated(trail, regularisation) for regularisation in TUNING.extrapolations]
    values = [evaluate_exact(objective, w, channel).value for w in tries]
    best = int(np.argmin(values))
    return Extrapolation(tries[best], values[best], float(len(tries)))


def extrapolated(trail: NDArray[np.float64], regularisation: float) -> Model:
    """Extrapolate models that are equal on all ranks; no exchange.

    Parameters
    ----------
    trail : (m + 1, outputs, width) array
        The models, the newest last; m >= 1.
    regularisation : float
        ρ.

    Returns
    -------
    (outputs, width) array
        Its objective may be higher than that of the last model.

    Examples
    --------
    >>> extrapolated(np.array([0.0, 8.0, 12.0, 14.0]).reshape(4, 1, 1), 1e-12).round(3).tolist()
    [[16.0]]
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
