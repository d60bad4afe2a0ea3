"""Targets with an offset as targets without one: rates of an exposure with a weight, or shifted targets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mpiopt.data.shard import Vector


class WithoutOffset(NamedTuple):
    """Targets and weights of a problem without an offset, and the offset that predictions add to the margins."""

    label: Vector
    weight: Vector | None
    offset: Vector


def without_offset(
    label: Vector, weight: Vector | None, offset: Vector | None, exposure: Vector | None, link: str, first: int = 0
) -> WithoutOffset:
    """Return the problem without an offset that has the same optimum; local.

    For Poisson's loss, exp(z + o) - y (z + o) is e (exp(z) - (y / e) z) and a constant, where e = exp(o): a row of
    target y / e and weight e. Tweedie's of power p has the weight e^(2 - p), gamma's, p = 2, the weight 1. For the
    identity, a function of z + o - y is one of z - (y - o).

    Parameters
    ----------
    label : ndarray, shape (n,)
        Targets; NaN where there are none.
    weight, offset, exposure : ndarray, shape (n,), or None
        Weights; offsets; exposures, which add their logarithm to the offset. One of the last two must be there.
    link : str
        "log" for the weight e, "log:q" for e^q, "identity".
    first : int
        Number of the first row, for messages.

    Raises
    ------
    ValueError
        If e is beyond float64; the message begins with the row.
    """
    total = np.zeros(len(label)) if offset is None else offset
    if exposure is not None:
        total = np.log(exposure) + total
    if link == "identity":
        return WithoutOffset(label - total, weight, total)
    power = float(link.partition(":")[2] or 1.0)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        rate = exposure if exposure is not None and offset is None else np.exp(total)
        factor = rate if power == 1.0 else rate**power
        target = label / rate
        product = factor if weight is None else weight * factor
    wrong = ~((rate > 0.0) & (factor > 0.0) & np.isfinite(rate + product)) | (np.isinf(target) & np.isfinite(label))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"row {first + row + 1}: offset {total[row]:g}; exp(offset), by which this loss divides the target, is "
            "beyond float64: an offset is a logarithm, such as log(exposure)"
        )
    return WithoutOffset(target, product, total)
