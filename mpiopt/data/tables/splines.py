"""B-splines of a column of numbers: a basis of piecewise polynomials between knots (de Boor 1978)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.data.shard import Vector


class BasisValues(NamedTuple):
    """The functions of a basis that are not zero at each number: `degree` + 1 in a row."""

    first: NDArray[np.int64]  # (n,) the number of the first of them, from 0
    values: Vector  # (n, degree + 1)


def functions(knots: Sequence[float], degree: int) -> int:
    """Return the number of functions of a basis."""
    return len(knots) + degree - 1


def basis_values(x: Vector, knots: Sequence[float], degree: int) -> BasisValues:
    """Compute the B-splines at the numbers x, which are moved to the nearest end if they lie beyond the knots.

    Each of the numbers is computed alone, so that the result does not depend on the others in x.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Numbers.
    knots : sequence of float
        At least two, ascending; the first and the last count `degree` times more.
    degree : int
        Degree of the polynomials.
    """
    inner = np.asarray(knots, np.float64)
    every = np.concatenate([np.full(degree, inner[0]), inner, np.full(degree, inner[-1])])
    x = np.clip(x, inner[0], inner[-1])
    first = np.clip(np.searchsorted(inner, x, side="right") - 1, 0, len(inner) - 2)
    at = first + degree  # of the knot at or below x
    values = np.zeros((degree + 1, len(x)))
    values[0] = 1.0
    for order in range(1, degree + 1):
        carried = np.zeros(len(x))
        for k in range(order):
            above, below = every[at + k + 1], every[at + k + 1 - order]
            part = values[k] / (above - below)
            values[k] = carried + (above - x) * part
            carried = (x - below) * part
        values[order] = carried
    return BasisValues(first.astype(np.int64), np.ascontiguousarray(values.T))


def shaped_values(x: Vector, knots: Sequence[float], degree: int, falls: bool) -> Vector:
    """Compute the functions of a monotone spline, (n, functions - 1): sums of B-splines.

    They rise from 0 to 1, or fall from 1 to 0, so that with coefficients of at least 0 a sum of them does (I-splines:
    J. O. Ramsay, Monotone regression splines in action, Statistical Science 3 (1988)).
    """
    first, values = basis_values(x, knots, degree)
    every = np.zeros((len(x), functions(knots, degree)))
    np.put_along_axis(every, first[:, None] + np.arange(degree + 1), values, axis=1)
    return np.cumsum(every, axis=1)[:, :-1] if falls else np.cumsum(every[:, ::-1], axis=1)[:, -2::-1]
