"""Offsets of margins, and exposures, whose logarithms are offsets.

For some losses a target with an offset is a target without one: a rate of an exposure with a weight, or a shifted
target. For the others each label has its offset beside it, and the margin of a row is W x + o.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mpiopt.data.shard import Vector

STAYS = "margin"  # the beginning of the link of a loss whose labels keep their offsets
GIVEN = "given"  # the link of a converted table: offsets and exposures as they are, for the loss that comes


def beside(label: Vector, offset: Vector | None) -> Vector:
    """Return labels with offsets beside them, (n, 2); without offsets the labels as they are, (n,).

    Examples
    --------
    >>> beside(np.array([1.0, -1.0]), np.array([0.5, 0.0])).tolist()
    [[1.0, 0.5], [-1.0, 0.0]]
    """
    return label if offset is None else np.column_stack([label, offset])


def labels_of(label: Vector) -> Vector:
    """Return the labels alone, (n,), with or without offsets beside them."""
    return label if label.ndim == 1 else np.ascontiguousarray(label[:, 0])


def apart(margins: Vector, label: Vector) -> tuple[Vector, Vector]:
    """Return the margins with the offsets that stand beside the labels, and the labels alone.

    Parameters
    ----------
    margins : ndarray, shape (n,) or (n, outputs)
        Margins without offsets.
    label : ndarray, shape (n,) or (n, 2)
        Labels, with offsets beside them or without.
    """
    if label.ndim == 1:
        return margins, label
    offset = label[:, 1]
    return margins + (offset if margins.ndim == 1 else offset[:, None]), labels_of(label)


def largest_offset(label: Vector) -> float:
    """Return the largest size of an offset of this rank's rows; 0 without offsets."""
    return float(np.abs(label[:, 1]).max(initial=0.0)) if label.ndim == 2 else 0.0


def summed(offset: Vector | None, exposure: Vector | None, rows: int) -> Vector:
    """Return offsets plus the logarithms of exposures, (n,)."""
    total = np.zeros(rows) if offset is None else offset
    return total if exposure is None else np.log(exposure) + total


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
    total = summed(offset, exposure, len(label))
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
