"""How large rounding makes errors of F and of the gradient of the loss: no run can certify less.

A slope is computed at a margin whose terms w_j x_ij are rounded, and the products with x_ij are rounded again. So the
gradient's column j may be wrong by

    η_j = ε (1/N) Σ_i s_i (|slope_i| + c_i Σ_k |w_k x_ik|) |x_ij|,   c_i = loss_i'',

and the value by ε (1/N) Σ_i s_i (|loss_i| + |slope_i| Σ_k |w_k x_ik|), to first order (N. J. Higham, Accuracy and
Stability of Numerical Algorithms (2002), section 3.1). The factors that grow with the lengths of the sums are left
out, since errors of different signs cancel.

Where columns lie far from 0 without an intercept, margins are computed from the distances to their middles, so that F
at the numbers w is known better than that. The errors keep all of Σ_k |w_k x_ik|, since the last bits of w itself
move F and gradient so; `computed` is the error of F without them.

The errors of the margins are alike in all columns: they add at most ½ (1/N) Σ_i s_i c_i (ε Σ_k |w_k x_ik|)² to a
decrement, whatever the columns are. Only the products with x_ij are rounded for each column apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.data.shard import CsrRows, DenseRows
from mpiopt.objective import passes
from mpiopt.objective.objective import Model, Objective

EPOCHS = 1.0  # one product with the rows and one with their transpose
BLOCK = 4096  # rows whose absolute values are taken at a time
UNIT = float(np.finfo(np.float64).eps)  # ε


class Rounding(NamedTuple):
    """Estimated errors of an evaluation; the same bits on all ranks."""

    value: float
    gradient: Model  # (outputs, width)
    products: Model  # (outputs, width) the part of the gradient's error that each column has for itself
    margins: float  # of F, to second order: what the errors of the margins add near an optimum
    computed: float  # of F at exactly these numbers w


def gradient_rounding(objective: Objective, w: Model, channel: Channel) -> NDArray[np.float64]:
    """Estimate the rounding error of each number of the gradient, ridge included, at a model; collective.

    Parameters
    ----------
    objective : Objective
        This rank's share of the objective.
    w : ndarray, shape (outputs, width)
        The model.
    channel : Channel
        The ranks.

    Returns
    -------
    ndarray, shape (outputs, width)
        η, the same bits on all ranks.
    """
    return evaluation_rounding(objective, w, channel).gradient


def evaluation_rounding(objective: Objective, w: Model, channel: Channel) -> Rounding:
    """Estimate the rounding errors of F and of its gradient, ridge included, at a model; collective."""
    shard, total, size = objective.shard, np.zeros((2, *w.shape)), np.abs(w)
    s, value, second, computed = shard.weight / shard.total, 0.0, 0.0, 0.0
    common = np.zeros(len(w)) if shard.far is None else passes.exact_products(w, shard.far)
    for begin in range(0, len(shard), BLOCK):
        block = slice(begin, min(begin + BLOCK, len(shard)))
        y, (_, absolute) = shard.label[block], _block(shard.rows, block)
        rows, near = _block(objective.distances, block)
        z, terms = passes.margins(rows, w) + common, passes.margins(absolute, size)
        few = terms if shard.far is None else passes.margins(near, size) + np.abs(common)
        if y.ndim == 2:  # an offset is rounded with the margin
            terms, few = terms + np.abs(y[:, 1:]), few + np.abs(y[:, 1:])
        slope, bend = np.abs(objective.loss.slope(z, y)), objective.loss.curvature(z, y)[:, None]
        loss = np.abs(objective.loss.value(z, y))
        value += float(s[block] @ (loss + (slope * terms).sum(axis=1)))
        computed += float(s[block] @ (loss + (slope * few).sum(axis=1)))
        second += 0.5 * float(s[block] @ (bend * (UNIT * terms) ** 2).sum(axis=1))
        for part, error in zip(total, (slope + bend * terms, slope), strict=True):
            part += passes.weighted_row_sum(absolute, error * s[block, None])
    found = channel.sum(total, value, second, computed)
    gradient, products = UNIT * (found[:-3].reshape(total.shape) + objective.ridge * size)
    return Rounding(UNIT * float(found[-3]), gradient, products, float(found[-2]), UNIT * float(found[-1]))


def _block(rows: DenseRows | CsrRows, block: slice) -> tuple[DenseRows | CsrRows, DenseRows | CsrRows]:
    """Return a range of rows, and their absolute values."""
    if isinstance(rows, DenseRows):
        part = rows.values[block]
        return DenseRows(part), DenseRows(np.abs(part))
    begin, end = rows.indptr[block.start], rows.indptr[block.stop]
    indptr, indices, values = (
        rows.indptr[block.start : block.stop + 1] - begin,
        rows.indices[begin:end],
        rows.values[begin:end],
    )
    return CsrRows(indptr, indices, values, rows.width), CsrRows(indptr, indices, np.abs(values), rows.width)
