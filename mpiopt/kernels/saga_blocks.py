"""What the SAGA kernels share: named arguments, and the update of the table by a block of rows.

numba takes named tuples of arrays and numbers as they are. Its cache on disk knows them by module and name, and
looks for changes in the file of a kernel alone: after a change here, or a move, remove `__pycache__`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mpiopt.kernels.arrays import CsrArrays as CsrArrays  # re-exported: the kernels of SAGA take both
from mpiopt.kernels.arrays import Labels as Labels
from mpiopt.kernels.loss_block import FAST


class BlockSteps(NamedTuple):
    """What the steps of a call have in common, one step for each block of rows."""

    batch: int  # rows of a block, 1 … 8; the last block of the rows may be shorter
    innovation: float  # factor on u in the step
    share: float  # factor on u in the change of the average


class ColumnPenalty(NamedTuple):
    """An elastic net with strengths of each column; intercept and padding have 0."""

    ridge: NDArray[np.float64]  # (width,) l2 rate², with the rate of the column (`Objective.rate`)
    threshold: NDArray[np.float64]  # (width,) l1 rate
    sharp: bool  # whether a threshold is above 0


class Strengths(NamedTuple):
    """An elastic net whose column j has the ridge l2 rate_j² and the threshold l1 rate_j; its record has the rate."""

    l2: float
    l1: float


class ColumnIterate(NamedTuple):
    """An iterate whose columns have a step size each."""

    w: NDArray[np.float64]  # (outputs, width)
    average: NDArray[np.float64]  # (outputs, width) the average of the table that steps use
    step: NDArray[np.float64]  # (width,)


class LocalIterate(NamedTuple):
    """A rank's iterate and table; preconditioned steps change all three."""

    w: NDArray[np.float64]  # (outputs, width) w_k
    own: NDArray[np.float64]  # (outputs, width) g_k, its part of the average of the tables
    table: NDArray[np.float64]  # (n, outputs) slope of each row at its last visit


class OthersModel(NamedTuple):
    """What the other ranks contribute to the gradient at w: rest + others (w − centre); and the preconditioner."""

    rest: NDArray[np.float64]  # (outputs, width)
    centre: NDArray[np.float64]  # (outputs, width)
    others: NDArray[np.float64]  # (m, m), m = width or outputs · width
    inverse: NDArray[np.float64]  # (m, m) P⁻¹
    ridge: NDArray[np.float64]  # (width,)


class PreconditionedFactors(NamedTuple):
    """The factors of a preconditioned step."""

    innovation: float  # on u, the change of the block's slopes
    own_scale: float  # on g_k
    share: float  # on u in the change of g_k: 1/N
    eta: float  # on P⁻¹ v


@njit(fastmath=FAST, error_model="numpy")
def update_table(s: Any, table: Any, e: Any, k: int, count: int, outputs: int) -> None:
    """Put the weighted new slopes of the rows k … into the table, and Δ_i, their change, into e.

    Parameters
    ----------
    s : (n,) float64 array
        Weights.
    table : (n, outputs) float64 array
        Slope of each row at its last visit; changed.
    e : (BLOCK · outputs,) float64 array
        New slopes of the block; changed to Δ_i, with zeros behind its last row.
    k, count : int
        First row and number of rows of the block.
    outputs : int
        Outputs of the model.
    """
    for b in range(count):
        for c in range(outputs):
            new = s[k + b] * e[b * outputs + c]
            e[b * outputs + c] = new - table[k + b, c]
            table[k + b, c] = new
    e[count * outputs :] = 0.0
