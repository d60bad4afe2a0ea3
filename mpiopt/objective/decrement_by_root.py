"""The Newton step from a root of the Hessian, in unknowns in which columns far from 0 are centred.

Far columns without an intercept hide their differences: the Hessian in the weights has lost them, and the gradient is
mostly what the columns have in common. In the unknowns of `CentredColumns` neither cancels; a root by QR knows the
rest to as many digits as the rows (G. Golub, C. Van Loan, Matrix Computations (2013), section 5.3).
"""

from __future__ import annotations

from contextlib import suppress
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

NOISE = 64.0 * float(np.finfo(np.float64).eps)  # of the sizes of its terms: a slope that is larger is not rounding
LARGEST_BLOCK = 1 << 21  # float64 numbers of the rows that are factored at a time: 16 MiB


class RootStep(NamedTuple):
    """A Newton step; the same bits on all ranks."""

    value: float  # ½ gᵀH⁻¹g, and what F falls along directions without curvature
    step: Model
    noise: Model  # √diag H⁻¹; 0 where columns are centred
    flat: float  # the part of the value along directions without curvature, which the step leaves
    lost: bool  # whether there are directions in which nothing is known of H


def newton_step(
    objective: Objective, w: Model, z: Matrix, slope: Model, moving: NDArray[np.bool_], channel: Channel
) -> RootStep:
    """Solve with a root of the Hessian; collective, one pass over the rows and an exchange.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective: one output, or softmax.
    w : ndarray, shape (outputs, width)
        The model.
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
    root, g = np.zeros((0, len(moving) * d)), np.zeros((3, len(moving) * d))  # of F, sizes, of the loss
    if first:
        root = _ridge_rows(np.sqrt(objective.ridge[:d]) * moving[:, :d], centred)
        of_penalty = [one.gradient(part) for one, part in zip(centred, (slope * moving)[:, :d], strict=True)]
        g[:2] += np.concatenate(of_penalty), np.abs(np.concatenate(of_penalty))
    length = max(1, LARGEST_BLOCK // (len(moving) * root.shape[1]))
    for begin in range(0, len(z), length):
        block = slice(begin, min(begin + length, len(z)))
        distances = passes.dense_block(objective.distances, block, d)
        parts = [one.rows(distances * used) for one, used in zip(centred, moving[:, :d], strict=True)]
        with np.errstate(over="ignore", invalid="ignore"):  # of a model that is too far out: the step is none
            rows, slopes = curved_rows(objective, z[block], block, parts)
            terms = [(part.T @ one, np.abs(part).T @ np.abs(one)) for part, one in zip(parts, slopes.T, strict=True)]
            g += np.hstack(terms)[[0, 1, 0]]
            root = np.asarray(np.linalg.qr(np.vstack([root, rows]), mode="r"))
    every = np.zeros((channel.size, g.shape[1], g.shape[1]))
    every[channel.rank, : len(root)] = root
    found = channel.sum(every, g)
    root, g = found[: every.size].reshape(-1, g.shape[1]), found[every.size :].reshape(g.shape)
    return _solve(root, g, w, centred, objective, channel)


def _ridge_rows(root: Matrix, centred: list[CentredColumns]) -> Matrix:
    """Return rows R with the ridge RᵀR, (unknowns, unknowns), from its root by the weights, (outputs, d)."""
    outputs, d = root.shape
    rows = np.zeros((outputs, d, outputs, d))
    for c, one in enumerate(centred):
        rows[c, :, c, :] = np.diag(root[c])
        rows[c, one.k, c, :] = root[c, one.k] * one.own
    return rows.reshape(outputs * d, outputs * d)


def _solve(
    root: Matrix, g: Matrix, w: Model, centred: list[CentredColumns], objective: Objective, channel: Channel
) -> RootStep:
    """Return the step by the root; all ranks take rank 0's answer. `g` is the gradient of F, the sizes of its terms,
    and the gradient of the loss.

    Along a direction without curvature in which the loss has no slope, F falls to the next kink of l1, about as far
    as w is long: that is added. Where the loss has one, as beyond the knee of Huber's, nothing bounds its fall.
    """
    step, noise, value, of_flat, lost = objective.zeros(), objective.zeros(), np.inf, 0.0, False
    d = used_columns(objective)
    if channel.rank == 0 and np.isfinite(root).all() and np.isfinite(g).all():
        with suppress(np.linalg.LinAlgError):  # of numbers too unlike
            factor = CurvatureRoot(np.asarray(np.linalg.qr(root, mode="r")))
            p, lost = factor.solve(g[0]), not factor.known.all()
            flat = factor.vectors[~factor.known]
            rounding = NOISE * (np.abs(flat) @ (g[1] / factor.size))
            slopes, of_loss = (np.abs(flat @ (part / factor.size)) - rounding for part in (g[0], g[2]))
            used = np.concatenate([one.unknowns(part) for one, part in zip(centred, w[:, :d], strict=True)])
            length = float(np.linalg.norm(used * factor.size))
            if length == 0.0 or (objective.loss.jumps and (of_loss > 0.0).any()):
                length = np.inf
            of_flat = float(np.maximum(slopes, 0.0).sum() * length) if (slopes > 0.0).any() else 0.0
            value = 0.5 * float(g[0] @ p) + of_flat
            parts = -p.reshape(len(centred), d)
            step[:, :d] = [one.weights(part) for one, part in zip(centred, parts, strict=True)]
            if objective.shard.far is None:
                noise[:, :d] = factor.roots().reshape(parts.shape)
    found = channel.of_root(np.stack([step, noise]), value, of_flat, float(lost))
    step, noise = found[:-3].reshape(2, *step.shape)
    return RootStep(float(found[-3]), step, noise, float(found[-2]), bool(found[-1]))
