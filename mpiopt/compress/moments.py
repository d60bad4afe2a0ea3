"""Moments of Gaussian vectors and of the sphere by integrals over one number, for covariances of quantisation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LOG_STEP = 0.02  # of the trapezoidal rule in ln t; with the range below it gives about 10 digits
LOG_RANGE = (-45.0, 75.0)  # of ln t, t in units of one over the trace
NODES = 40  # of Gauss and Legendre's rule on each smooth piece


def norm_times_magnitude(m: Array) -> Array:
    """Compute E ‖x‖ |x_i| for a Gaussian x of mean 0 and covariance m, shape (d,), to about 10 digits.

    √S = (1/(2√π)) ∫ (1 - e^{-tS}) t^{-3/2} dt over t > 0, with S = ‖x‖²; under e^{-t‖x‖²} x is Gaussian again, of
    covariance M_t = (M⁻¹ + 2tI)⁻¹ and mass det(I + 2tM)^{-1/2}. The integral is a trapezoidal rule in ln t.
    """
    values, vectors = np.linalg.eigh(m)
    values = np.maximum(values, 0.0)
    if not values.any():
        return np.zeros(len(m))
    t = np.exp(np.arange(*LOG_RANGE, LOG_STEP)) / values.sum()
    shrunk = values / (1.0 + 2.0 * t[:, None] * values)  # eigenvalues of M_t
    mass = np.exp(-0.5 * np.log1p(2.0 * t[:, None] * values).sum(axis=1))
    plain, left = np.sqrt(np.diag(m)), mass[:, None] * np.sqrt(shrunk @ (vectors**2).T)
    integral = ((plain - left) / np.sqrt(t)[:, None]).sum(axis=0) * LOG_STEP
    return np.asarray(integral * math.sqrt(2.0 / math.pi) / (2.0 * math.sqrt(math.pi)))


def sphere_mean(function: Callable[[Array], Array], d: int, kinks: Array) -> float:
    """Compute E f(|u₁|) for u uniform on the sphere in d >= 2 dimensions; f is smooth between the `kinks` in (0, 1).

    With |u₁| = sin θ the density of θ in [0, π/2] is proportional to cos^{d-2} θ.
    """
    edges = np.arcsin(np.concatenate([[0.0], kinks, [1.0]]))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    theta = (edges[:-1, None] + edges[1:, None]) / 2 + np.diff(edges)[:, None] / 2 * nodes
    density = np.diff(edges)[:, None] / 2 * weights * np.cos(theta) ** (d - 2)
    return float((density * function(np.sin(theta))).sum() / density.sum())
