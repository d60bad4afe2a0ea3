"""Sums of curvatures over the ranks in as few bits as the steps need.

The shares A_k of S = Σ A_k are positive semi-definite, so that |Σ (A_k)_ij| <= Σ √(A_k)_ii √(A_k)_jj <= √S_ii √S_jj:
scaled by the common diagonal all sums lie in [−1, 1], and 16-bit whole numbers hold them. A metric that is off by a
part of itself has the same fixed point; where 16 bits are too few for its smallest eigenvalue, 16 more bits of what
was left of each share follow.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

LARGEST = 32000  # sums of so many units fit 16 bits, with room for the rounding of every rank
MOST_RANKS = 1000  # whose roundings, half a unit each, still fit beside it
LARGEST_ERROR = 0.5  # largest error of the curvature, in the metric that it makes


def symmetric_sum(own: Matrix, channel: Channel) -> Matrix:
    """Sum symmetric matrices over the ranks exactly: one half travels."""
    return from_lower_triangle(channel.sum(lower_triangle(own)))


def curvature_sum(own: Matrix, extra: Matrix, channel: Channel) -> Matrix:
    """Sum positive semi-definite matrices over the ranks, to an error that is small in the metric sum + `extra`."""
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
        sigma = math.sqrt(channel.size / 12.0) * unit / LARGEST
        unit *= channel.size / (2.0 * LARGEST)
        whole: Matrix = from_lower_triangle(total) / LARGEST * np.outer(size, size)
        whole[np.diag_indices_from(whole)] = diagonal
        if error_norm(whole + extra, sigma) <= LARGEST_ERROR:
            break
    return whole


def error_norm(p: Matrix, sigma: float) -> float:
    """Estimate ‖P^{-1/2} E P^{-1/2}‖ for a symmetric E of random numbers, σ√(p_ii p_jj) in size.

    With P scaled to a unit diagonal about 2 σ ‖P⁻¹‖^{1/2} (tr P⁻¹)^{1/2}; inf where P is not positive definite.
    """
    size = np.sqrt(np.maximum(p.diagonal(), 0.0))
    used = size > 0.0
    unit = p[np.ix_(used, used)] / size[used] / size[used][:, None]
    try:
        root = np.linalg.inv(np.linalg.cholesky(unit))
    except np.linalg.LinAlgError:
        return math.inf
    v = np.ones(len(root))
    for _ in range(20):
        v = root.T @ (root @ (v / np.linalg.norm(v)))
    return 2.0 * sigma * math.sqrt(float(np.linalg.norm(v)) * float((root * root).sum()))


def lower_triangle(matrix: Matrix) -> Vector:
    """Give the lower half of a symmetric matrix, row by row."""
    return np.concatenate([row[: i + 1] for i, row in enumerate(matrix)])


def from_lower_triangle(half: Vector) -> Matrix:
    """Undo `lower_triangle`."""
    size = (math.isqrt(8 * half.size + 1) - 1) // 2
    whole = np.empty((size, size))
    for i, row in enumerate(np.split(half, np.cumsum(np.arange(1, size)))):
        whole[i, : i + 1] = whole[: i + 1, i] = row
    return whole
