"""Max-consensus: m_j ← max over rank j and its in-neighbours; exact after D rounds, D the diameter.

From it follows a common scale for the ranks' numbers. Scales are powers of two, so that scaling is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus.coordinators.base import Array, Protocol, RankView, Vector

Exponents = NDArray[np.int16]
NOT_FINITE = 20000  # sent as exponent for NaN and infinity; exponents of float64 are at most 1024
NOT_FINITE_RANK = "a rank has NaN or infinity in a coordinated sum"
ZERO_EXPONENT = -1074  # sent as exponent for 0: that of the smallest float64


def maximum(x: Array, view: RankView) -> Protocol[Array]:
    """Return the elementwise maximum over all ranks, in view.diameter rounds; NaN if a rank has NaN."""
    highest = x
    for _ in range(view.diameter):
        highest = np.maximum.reduce([highest, *(yield highest)])
    return highest


def exponents(x: Vector, view: RankView) -> Protocol[Exponents]:
    """Return the least e, elementwise, with |x_k| < 2^e on all ranks k, in view.diameter rounds.

    Raises
    ------
    ArithmeticError
        On all ranks, if one of them has NaN or infinity.
    """
    own = np.where(x == 0.0, ZERO_EXPONENT, np.frexp(x)[1])
    own[~np.isfinite(x)] = NOT_FINITE
    highest = yield from maximum(own.astype(np.int16), view)
    require_finite_ranks(highest)
    return highest


def require_finite_ranks(highest: Array) -> None:
    """Raise ArithmeticError if the maximum of the ranks' exponents says that a rank has NaN or infinity."""
    if highest.size and highest.max() >= NOT_FINITE:
        raise ArithmeticError(NOT_FINITE_RANK)


def finite(value: Vector) -> Vector:
    """Return `value`, which is equal on all ranks, or raise ArithmeticError if it overflows float64."""
    if not np.isfinite(value).all():
        raise ArithmeticError("a coordinated sum overflows float64")
    return value
