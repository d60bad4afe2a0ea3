"""A root R of the Hessian H = RᵀR, which knows what H in float64 has lost.

Where columns lie far from 0 beside their spread, the differences that matter are below the rounding of H: they enter
H squared. A root from the rows by QR has them to half as many digits (G. Golub, C. Van Loan, Matrix Computations
(2013), section 5.3). The ranks' factors are factored together (J. Demmel, L. Grigori, M. Hoemmen, J. Langou, SIAM J.
Sci. Comput. 34 (2012)).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective import passes
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.losses.base import class_complements, class_probabilities
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LARGEST_EXCHANGE = 1_000_000  # numbers of the factors of all ranks: 8 MB, which every rank factors again
LARGEST_ROWS = 4_000_000  # numbers of a rank's rows, which are copied
LEAST_SINGULAR = 8.0 * float(np.finfo(np.float64).eps)  # for each unknown, with columns of length 1: less is rounding


class Ranks(Protocol):
    """What sums and decides over the ranks: a `Channel`, or `ALONE`."""

    @property
    def rank(self) -> int: ...  # noqa: D102

    @property
    def size(self) -> int: ...  # noqa: D102

    def sum(self, *parts: Vector | float) -> Vector: ...  # noqa: D102

    def max(self, x: Vector | float) -> Vector: ...  # noqa: D102

    def of_root(self, *parts: Vector | float) -> Vector: ...  # noqa: D102


class _Alone:
    """One rank."""

    rank, size = 0, 1

    def sum(self, *parts: Vector | float) -> Vector:
        return np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])

    def max(self, x: Vector | float) -> Vector:
        return self.sum(x)

    def of_root(self, *parts: Vector | float) -> Vector:
        return self.sum(*parts)


ALONE: Ranks = _Alone()


class CurvatureRoot:
    """H = RᵀR + what is too small to know.

    Parameters
    ----------
    root
        R, shape (k, d).

    Examples
    --------
    >>> CurvatureRoot(np.array([[2.0, 0.0], [0.0, 1e-10]])).solve(np.array([4.0, 1e-20])).tolist()
    [1.0, 1.0]
    """

    def __init__(self, root: Matrix) -> None:
        self.matrix = root
        length = np.sqrt((root**2).sum(axis=0))
        self.size: Vector = np.where(length > 0.0, length, 1.0)
        _, self.singular, self.vectors = np.linalg.svd(root / self.size, full_matrices=False)
        self.known = self.singular > LEAST_SINGULAR * max(root.shape[1], 1)

    def solve(self, b: Vector) -> Vector:
        """Return H⁻¹ b, shape (d,), without the directions in which nothing is known of H."""
        parts, vectors = self.singular[self.known], self.vectors[self.known]
        return np.asarray(vectors.T @ ((vectors @ (b / self.size)) / parts**2) / self.size)

    def roots(self) -> Vector:
        """Return √diag H⁻¹, shape (d,), without these directions."""
        parts, vectors = self.singular[self.known], self.vectors[self.known]
        return np.asarray(np.sqrt(((vectors / parts[:, None]) ** 2).sum(axis=0)) / self.size)


def is_exchangeable(objective: Objective, ranks: int) -> bool:
    """Return whether the factors of all ranks can be exchanged."""
    return ranks * (objective.outputs * used_columns(objective)) ** 2 <= LARGEST_EXCHANGE


def is_affordable(objective: Objective, channel: Channel) -> bool:
    """Return whether the root can be had for about the price of H; collective."""
    d, outputs = used_columns(objective), objective.outputs
    known = outputs == 1 or objective.loss.name == "softmax"
    most = float(channel.max(float(len(objective.shard)))[0])
    return known and is_exchangeable(objective, channel.size) and most * outputs**2 * d <= LARGEST_ROWS


def curvature_root(objective: Objective, w: Matrix, channel: Channel, majorise: float = 0.0) -> CurvatureRoot:
    """Compute the root of the Hessian of loss and ridge, with the arguments of `curvature`; collective.

    One pass over the rows of each rank, and one exchange of the square of the unknowns of every rank.
    """
    d, shard = used_columns(objective), objective.shard
    rows, ridge = passes.dense_block(shard.rows, slice(0, len(shard)), d), objective.ridge[:d]
    if objective.outputs > 1:
        curved = curved_rows(objective, objective.predict(w), slice(0, len(shard)), [rows] * objective.outputs)[0]
        return root_of_rows(curved, np.ones(len(curved)), np.tile(ridge, objective.outputs), channel)
    c = objective.row_majorants(w, majorise) if majorise else objective.row_curvatures(w)
    return root_of_rows(rows, c / shard.total, ridge, channel)


def curved_rows(objective: Objective, z: Matrix, block: slice, parts: list[Matrix]) -> tuple[Matrix, Matrix]:
    """Return rows R with the Hessian RᵀR of the loss of a block of rows, (k, unknowns), and the slopes there.

    `z` are their margins, `parts` the columns of each output. Softmax: diag(p) − p pᵀ is L Lᵀ with
    L = diag(√p) − p √pᵀ.
    """
    shard, loss = objective.shard, objective.loss
    y, s = shard.label[block], shard.weight[block] / shard.total
    slopes = loss.slope(z, y)
    if objective.outputs == 1:
        return parts[0] * np.sqrt(s * loss.curvature(z, y))[:, None], s[:, None] * slopes
    p, rest = class_probabilities(slopes, y), class_complements(slopes, y)
    root = np.sqrt(np.maximum(p, 0.0))
    rows = []
    for m in range(len(parts)):
        factor = np.where(np.arange(len(parts)) == m, rest, -p) * (root[:, m] * np.sqrt(s))[:, None]
        rows.append(np.hstack([part * one[:, None] for part, one in zip(parts, factor.T, strict=True)]))
    return np.vstack(rows), s[:, None] * slopes


def root_of_rows(rows: Matrix, c: Vector, diagonal: Vector, ranks: Ranks) -> CurvatureRoot:
    """Compute the root of Σ c_i x_i x_iᵀ over the rows of all ranks, plus a diagonal; collective."""
    d = rows.shape[1]
    own = np.linalg.qr(rows * np.sqrt(c)[:, None], mode="r")
    every = np.zeros((ranks.size, d, d))
    every[ranks.rank, : len(own)] = own
    stacked = ranks.sum(every).reshape(-1, d)
    root = np.linalg.qr(np.vstack([stacked, np.diag(np.sqrt(diagonal))]), mode="r")
    return CurvatureRoot(np.asarray(root))
