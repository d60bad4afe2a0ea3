"""Dense kernels of Newton's method: triangular solves, and coordinate descent on a model with l1 and bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.kernel_cache import njit

Vector = NDArray[np.float64]


@njit(cache=True, nogil=True)
def solve_cholesky(factor: Vector, b: Vector) -> Vector:
    """Solve L Lᵀ x = b.

    Parameters
    ----------
    factor
        Lower triangular L, shape (d, d), C-contiguous.
    b
        Right-hand side, shape (d,).

    Returns
    -------
    ndarray
        x, shape (d,).
    """
    d = len(b)
    x = b.copy()
    for i in range(d):
        total = x[i]
        for j in range(i):
            total -= factor[i, j] * x[j]
        x[i] = total / factor[i, i]
    for i in range(d - 1, -1, -1):
        x[i] /= factor[i, i]
        for j in range(i):
            x[j] -= factor[i, j] * x[i]
    return x


@njit(cache=True, nogil=True)
def descend(h: Vector, g: Vector, w: Vector, threshold: Vector, p: Vector, hp: Vector, sweeps: int) -> float:
    """Decrease g·p + ½ pᵀh p + Σ threshold |w + p| by sweeps of exact coordinate steps.

    Parameters
    ----------
    h
        Symmetric, shape (d, d), C-contiguous.
    g, w, threshold
        Gradient, model and l1 thresholds, shape (d,).
    p, hp
        The step and h p, shape (d,); both are changed in place.
    sweeps
        How often each coordinate is visited at most.

    Returns
    -------
    float
        The largest |change| √h_jj of the last sweep; 0 at the minimum.
    """
    largest = 0.0
    for _ in range(sweeps):
        largest = 0.0
        for j in range(len(g)):
            curvature = h[j, j]
            if curvature <= 0.0:
                continue
            old = w[j] + p[j]
            free = old - (g[j] + hp[j]) / curvature
            edge = threshold[j] / curvature
            new = np.sign(free) * max(abs(free) - edge, 0.0)
            if new != old:
                p[j] = new - w[j]
                change = new - old
                for i in range(len(g)):
                    hp[i] += change * h[j, i]
                largest = max(largest, abs(change) * np.sqrt(curvature))
        if largest == 0.0:
            break
    return largest


@njit(cache=True, nogil=True)
def descend_in_box(
    h: Vector,
    g: Vector,
    w: Vector,
    threshold: Vector,
    lower: Vector,
    upper: Vector,
    p: Vector,
    hp: Vector,
    sweeps: int,
) -> float:
    """Do as `descend` with lower <= w + p <= upper.

    Parameters
    ----------
    h, g, w, threshold, p, hp, sweeps
        As of `descend`; w is within the bounds.
    lower, upper
        Bounds, shape (d,).

    Returns
    -------
    float
        The largest |change| √h_jj of the last sweep; 0 at the minimum.
    """
    largest = 0.0
    for _ in range(sweeps):
        largest = 0.0
        for j in range(len(g)):
            curvature = h[j, j]
            if curvature <= 0.0:
                continue
            old = w[j] + p[j]
            free = old - (g[j] + hp[j]) / curvature
            new = np.sign(free) * max(abs(free) - threshold[j] / curvature, 0.0)
            new = min(max(new, lower[j]), upper[j])
            if new != old:
                p[j] = new - w[j]
                change = new - old
                for i in range(len(g)):
                    hp[i] += change * h[j, i]
                largest = max(largest, abs(change) * np.sqrt(curvature))
        if largest == 0.0:
            break
    return largest
