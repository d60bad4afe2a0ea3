"""The Newton step from a root of the Hessian, in unknowns in which columns far from 0 are centred.

Far columns without an intercept hide their differences: the Hessian in the weights has lost them, and the gradient is
mostly what the columns have in common. In the unknowns of `CentredColumns` neither cancels; a root by QR knows the
rest to as many digits as the rows (G. Golub, C. Van Loan, Matrix Computations (2013), section 5.3).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.objective import passes
from mpiopt.objective.centred_columns import CentredColumns
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.curvature_root import CurvatureRoot, curved_rows
from mpiopt.objective.objective import Model, Objective

Matrix = NDArray[np.float64]

LARGEST_BLOCK = 1 << 21  # float64 numbers of the rows that are factored at a time: 16 MiB


class RootStep(NamedTuple):
    """A Newton step; the same bits on all ranks."""

    value: float  # ½ gᵀH⁻¹g
    step: Model
    noise: Model  # √diag H⁻¹; 0 where columns are centred
    lost: bool  # whether there are directions in which nothing is known of H


def newton_step(
    objective: Objective, z: Matrix, slope: Model, moving: NDArray[np.bool_], channel: Channel
) -> RootStep:
    """Solve with a root of the Hessian; collective, one pass over the rows and an exchange.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective: one output, or softmax.
    z : ndarray, shape (n, outputs)
        Margins of this rank's rows.
    slope : ndarray, shape (outputs, width)
        The gradient of the penalty.
    moving : ndarray of bool, shape (outputs, width)
        The unknowns that may change.
    channel : Channel
        The ranks.
    """
    d, first = used_columns(objective), channel.rank == 0
    far = np.zeros(d) if objective.shard.far is None else objective.shard.far
    centred = [CentredColumns(far * used) for used in moving[:, :d]]
    root, g = np.zeros((0, len(moving) * d)), np.zeros(len(moving) * d)
    if first:
        root = _ridge_rows(np.sqrt(objective.ridge[:d]) * moving[:, :d], centred)
        g += np.concatenate([one.gradient(part) for one, part in zip(centred, (slope * moving)[:, :d], strict=True)])
    length = max(1, LARGEST_BLOCK // (len(moving) * root.shape[1]))
    for begin in range(0, len(z), length):
        block = slice(begin, min(begin + length, len(z)))
        distances = passes.dense_block(objective.distances, block, d)
        parts = [one.rows(distances * used) for one, used in zip(centred, moving[:, :d], strict=True)]
        rows, slopes = curved_rows(objective, z[block], block, parts)
        own = np.concatenate([part.T @ one for part, one in zip(parts, slopes.T, strict=True)])
        root, g = np.asarray(np.linalg.qr(np.vstack([root, rows]), mode="r")), g + own
    every = np.zeros((channel.size, len(g), len(g)))
    every[channel.rank, : len(root)] = root
    found = channel.sum(every, g)
    return _solve(found[: every.size].reshape(-1, len(g)), found[every.size :], centred, objective, channel)


def _ridge_rows(root: Matrix, centred: list[CentredColumns]) -> Matrix:
    """Return rows R with the ridge RᵀR, (unknowns, unknowns), from its root by the weights, (outputs, d)."""
    outputs, d = root.shape
    rows = np.zeros((outputs, d, outputs, d))
    for c, one in enumerate(centred):
        rows[c, :, c, :] = np.diag(root[c])
        rows[c, one.k, c, :] = root[c, one.k] * one.own
    return rows.reshape(outputs * d, outputs * d)


def _solve(
    root: Matrix, g: Matrix, centred: list[CentredColumns], objective: Objective, channel: Channel
) -> RootStep:
    """Return the step by the root; all ranks take rank 0's answer."""
    step, noise, value, lost = objective.zeros(), objective.zeros(), np.inf, False
    if channel.rank == 0 and np.isfinite(root).all() and np.isfinite(g).all():
        factor = CurvatureRoot(np.asarray(np.linalg.qr(root, mode="r")))
        p, lost = factor.solve(g), not factor.known.all()
        value = 0.5 * float(g @ p)
        parts = -p.reshape(len(centred), -1)
        step[:, : parts.shape[1]] = [one.weights(part) for one, part in zip(centred, parts, strict=True)]
        if objective.shard.far is None:
            noise[:, : parts.shape[1]] = factor.roots().reshape(parts.shape)
    found = channel.of_root(np.stack([step, noise]), value, float(lost))
    step, noise = found[:-2].reshape(2, *step.shape)
    return RootStep(float(found[-2]), step, noise, bool(found[-1]))
