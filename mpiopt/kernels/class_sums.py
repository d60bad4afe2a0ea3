"""Sums over the rows of softmax's value, slopes and curvature by constants that are added to the margins."""

from __future__ import annotations

import math

import numpy as np

from mpiopt.kernels.arrays import Matrix, Vector
from mpiopt.kernels.kernel_cache import njit
from mpiopt.kernels.loss_block import FAST, exponential

BLOCK = 64  # rows whose sums are formed apart: vectors of rows, and less rounding than in one long sum


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def class_sums(z: Matrix, at: Vector, y: Vector, s: Vector) -> Vector:
    """Sum loss, slopes and curvature of the margins z + at.

    Parameters
    ----------
    z
        Margins, shape (n, classes).
    at
        Constants, shape (classes,).
    y, s
        Numbers of the classes, and weights, shape (n,).

    Returns
    -------
    ndarray
        Shape (2 classes + 2 + classes²,), weighted: the slopes by the constants, the sizes of the rows' slopes, the
        loss, the largest size of a margin, and the curvature. The slope of a row's own class is the sum of the other
        probabilities, and 1 - p that of the others, exact to the last digits where a row is surely of its class.
    """
    n, classes = z.shape
    sums = np.zeros(2 * classes + 2 + classes * classes)
    p, rest = np.empty((classes, BLOCK)), np.empty((classes, BLOCK))
    likely = np.empty(BLOCK, np.int64)  # the class with the largest margin
    top, others, weight = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        value, far = 0.0, 0.0
        for r in range(rows):
            weight[r], others[r], likely[r] = s[start + r], 0.0, 0
            largest = 0.0
            for c in range(classes):
                p[c, r] = z[start + r, c] + at[c]
                likely[r] = c if p[c, r] > p[likely[r], r] else likely[r]
                largest = max(largest, abs(p[c, r]))
            top[r] = p[likely[r], r]
            far += weight[r] * largest
            value += weight[r] * (top[r] - p[int(y[start + r]), r])
        for c in range(classes):
            for r in range(rows):
                p[c, r] = exponential(p[c, r] - top[r])
                others[r] += p[c, r] if likely[r] != c else 0.0
        for r in range(rows):
            value += weight[r] * math.log1p(others[r])
        for c in range(classes):
            for r in range(rows):
                p[c, r] /= 1.0 + others[r]
                rest[c, r] = 1.0 - p[c, r]
        for r in range(rows):
            rest[likely[r], r] = others[r] / (1.0 + others[r])
        _add_block(sums, p, rest, y[start : start + rows], weight, rows)
        sums[2 * classes] += value
        sums[2 * classes + 1] += far
    return sums


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _add_block(sums: Vector, p: Matrix, rest: Matrix, y: Vector, weight: Vector, rows: int) -> None:
    """Add the slopes, their sizes and the curvature of a block with probabilities p, and 1 - p in `rest`."""
    classes = len(p)
    first = 2 * classes + 2
    for c in range(classes):
        bent, others, own = 0.0, 0.0, 0.0
        for r in range(rows):
            bent += weight[r] * p[c, r] * rest[c, r]
            others += weight[r] * p[c, r] if y[r] != c else 0.0
            own += weight[r] * rest[c, r] if y[r] == c else 0.0
        sums[c] += others - own
        sums[classes + c] += others + own
        sums[first + c * classes + c] += bent
        for e in range(c):
            both = 0.0
            for r in range(rows):
                both += weight[r] * p[c, r] * p[e, r]
            sums[first + c * classes + e] -= both
            sums[first + e * classes + c] -= both
