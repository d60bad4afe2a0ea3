"""Sums of curvature matrices over the ranks in as few bits as a preconditioner needs.

The shares A_k of S = Σ A_k are positive semi-definite, so that |Σ (A_k)_ij| <= Σ √(A_k)_ii √(A_k)_jj <= √S_ii √S_jj.
Scaled by the common diagonal, all partial sums lie in [−1, 1] and fit into 16-bit integers. A preconditioner with a
relative error has the same fixed point. If 16 bits are too few for its smallest eigenvalue, 16 more bits of each
share's rest follow.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

LARGEST = 32000  # units for 1: 2¹⁵ less room for the rounding of every rank
MOST_RANKS = 1000  # whose roundings, half a unit each, still fit beside LARGEST
LARGEST_ERROR = 0.5  # of the sum, as ‖P^{-1/2} E P^{-1/2}‖ with P the preconditioner: its eigenvalues stay positive
POWER_ITERATIONS = 20  # for the largest eigenvalue of P⁻¹


def symmetric_sum(own: Matrix, channel: Channel) -> Matrix:
    """Sum symmetric matrices over the ranks exactly; only the lower triangle travels."""
    return from_lower_triangle(channel.sum(lower_triangle(own)))


def curvature_sum(own: Matrix, extra: Matrix, channel: Channel, largest_error: float = LARGEST_ERROR) -> Matrix:
    """Sum positive semi-definite matrices over the ranks in 16 or 32 bits an entry; collective.

    Without compression the sum is exact.

    Parameters
    ----------
    own : ndarray, shape (d, d)
        This rank's share.
    extra : ndarray, shape (d, d)
        What is added to the sum to make the preconditioner; the same on all ranks.
    channel : Channel
        The ranks.
    largest_error : float
        Of the sum, relative to the sum + `extra`.

    Returns
    -------
    ndarray, shape (d, d)
        The sum, the same bits on all ranks. Its error is estimated to be at most `largest_error`, unless 32 bits are
        too few.
    """
    if not channel.compresses or channel.size > MOST_RANKS:
        return symmetric_sum(own, channel)
    diagonal = channel.sum(own.diagonal())
    size = np.sqrt(np.maximum(diagonal, 0.0))
    scale = np.zeros_like(size)
    with np.errstate(over="ignore", invalid="ignore"):
        np.divide(math.sqrt(LARGEST), size, out=scale, where=size > 0.0)
        rest = lower_triangle(own * scale * scale[:, None])
        width = rest.max(initial=0.0) - rest.min(initial=0.0)
    if not np.isfinite(channel.max(width)[0]):
        return symmetric_sum(own, channel)
    total, unit = np.zeros(rest.size), 1.0
    for _ in range(2):
        sent = np.rint(rest / unit)
        rest -= sent * unit
        total += channel.integer_sum(sent.astype(np.int16)) * unit
        sigma = math.sqrt(channel.size / 12.0) * unit / LARGEST  # of a sum of roundings, each uniform over a unit
        unit *= channel.size / (2.0 * LARGEST)
        summed: Matrix = from_lower_triangle(total) / LARGEST * np.outer(size, size)
        summed[np.diag_indices_from(summed)] = diagonal
        if error_norm(summed + extra, sigma) <= largest_error:
            break
    return summed


def error_norm(p: Matrix, sigma: float) -> float:
    """Estimate ‖P^{-1/2} E P^{-1/2}‖ for a symmetric E of random numbers with standard deviations σ√(p_ii p_jj).

    With P scaled to a unit diagonal it is about 2 σ ‖P⁻¹‖^{1/2} (tr P⁻¹)^{1/2}; inf if P is not positive definite.
    """
    size = np.sqrt(np.maximum(p.diagonal(), 0.0))
    used = size > 0.0
    unit = p[np.ix_(used, used)] / size[used] / size[used][:, None]
    try:
        root = np.linalg.inv(np.linalg.cholesky(unit))
    except np.linalg.LinAlgError:
        return math.inf
    v = np.ones(len(root))
    for _ in range(POWER_ITERATIONS):
        v = root.T @ (root @ (v / np.linalg.norm(v)))
    return 2.0 * sigma * math.sqrt(float(np.linalg.norm(v)) * float((root * root).sum()))


def lower_triangle(matrix: Matrix) -> Vector:
    """Return the lower triangle of a symmetric matrix, row by row."""
    return np.concatenate([row[: i + 1] for i, row in enumerate(matrix)])


def from_lower_triangle(half: Vector) -> Matrix:
    """Return the symmetric matrix with this lower triangle."""
    size = (math.isqrt(8 * half.size + 1) - 1) // 2
    matrix = np.empty((size, size))
    for i, row in enumerate(np.split(half, np.cumsum(np.arange(1, size)))):
        matrix[i, : i + 1] = matrix[: i + 1, i] = row
    return matrix
