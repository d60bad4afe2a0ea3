"""BFGS: the update of a matrix, and the two loops of L-BFGS over pairs of steps s_i and changes y_i of the gradient.

J. Nocedal, Updating quasi-Newton matrices with limited storage, Math. Comp. 35 (1980). Each loop reads a pair from
memory once: the products s_i·q and s_i·y_i together, and y_i again while it is in the cache.
"""

from __future__ import annotations

import numpy as np

from mpiopt.kernels.arrays import Matrix, Vector
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import FAST


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def newest_first(steps: Matrix, changes: Matrix, q: Vector, bends: Vector, weights: Vector) -> None:
    """Subtract from q its part along each pair, the last one first.

    Parameters
    ----------
    steps, changes : ndarray, shape (m, d)
        The pairs.
    q : ndarray, shape (d,)
        Changed in place.
    bends, weights : ndarray, shape (m,)
        Filled with s_i·y_i and with the multiples of y_i that were subtracted.
    """
    m, d = steps.shape
    for k in range(m):
        i = m - 1 - k
        s, y, along, bend = steps[i], changes[i], 0.0, 0.0
        for j in range(d):
            along += s[j] * q[j]
            bend += s[j] * y[j]
        bends[i], weights[i] = bend, along / bend
        part = weights[i]
        for j in range(d):
            q[j] -= part * y[j]


@njit(fastmath=FAST, cache=True, nogil=True, error_model="numpy")
def oldest_first(steps: Matrix, changes: Matrix, q: Vector, bends: Vector, weights: Vector) -> None:
    """Add to q, along each step, what the pairs say; arguments as `newest_first` left them."""
    m, d = steps.shape
    for i in range(m):
        s, y, along = steps[i], changes[i], 0.0
        for j in range(d):
            along += y[j] * q[j]
        part = weights[i] - along / bends[i]
        for j in range(d):
            q[j] += part * s[j]


@njit(cache=True, nogil=True, error_model="numpy")
def learn_step(h: Matrix, s: Vector, y: Vector) -> None:
    """Change a curvature h (d, d) in place such that h s = y (BFGS); not at all where that is not positive."""
    d, sy, shs = len(s), 0.0, 0.0
    hs = np.zeros(d)
    for i in range(d):
        for j in range(d):
            hs[i] += h[i, j] * s[j]
        sy += s[i] * y[i]
        shs += s[i] * hs[i]
    if sy > 0.0 and shs > 0.0:
        for i in range(d):
            for j in range(d):
                h[i, j] += y[i] * y[j] / sy - hs[i] * hs[j] / shs
