"""Max- and min-consensus: m_j <- max over itself and its in-neighbours; exact after D rounds, D the diameter.

A common scale by max-consensus: whole powers of two, so that scaling loses no bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus.coordinators.base import Array, Protocol, Site, Vector


def maximum(x: Array, site: Site) -> Protocol[Array]:
    """Give the elementwise maximum over all ranks, in site.diameter rounds (which may be a bound); NaN wins."""
    highest = x
    for _ in range(site.diameter):
        highest = np.maximum.reduce([highest, *(yield highest)])
    return highest


def minimum(x: Array, site: Site) -> Protocol[Array]:
    """Give the elementwise minimum over all ranks, in site.diameter rounds; NaN wins."""
    lowest = x
    for _ in range(site.diameter):
        lowest = np.minimum.reduce([lowest, *(yield lowest)])
    return lowest


Exponents = NDArray[np.int16]
UNFIT = 20000  # stands for NaN and infinity


def exponents(x: Vector, site: Site) -> Protocol[Exponents]:
    """Give the least e, elementwise, with |x_k| < 2^e on all ranks k, in site.diameter rounds; e = -1074 for zeros.

    Raises
    ------
    ArithmeticError
        On all ranks, if one of them brings NaN or infinity.
    """
    own = np.where(x == 0.0, -1074, np.frexp(x)[1])
    own[~np.isfinite(x)] = UNFIT
    highest = yield from maximum(own.astype(np.int16), site)
    refuse_unfit(highest)
    return highest


def refuse_unfit(highest: Array) -> None:
    """Raise where a rank told that its numbers are not finite."""
    if highest.size and highest.max() >= UNFIT:
        raise ArithmeticError("a rank brings NaN or infinity to a coordinated sum")


def finite(value: Vector) -> Vector:
    """Give `value`, which all ranks have alike; ArithmeticError if it is beyond float64."""
    if not np.isfinite(value).all():
        raise ArithmeticError("a coordinated sum is beyond float64")
    return value
