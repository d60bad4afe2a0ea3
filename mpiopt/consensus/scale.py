"""A common scale by max-consensus: whole powers of two, so that scaling loses no bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.consensus import Array, Protocol, Site, Vector
from mpiopt.consensus.extrema import maximum

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
