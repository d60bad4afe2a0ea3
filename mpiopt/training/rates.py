"""Exposures and offsets that a caller of `mpiopt.fit` gives as arrays: targets become rates, or are shifted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Model
from mpiopt.data.offsets import without_offset
from mpiopt.data.tables.source import OF_LOG
from mpiopt.inference.goodness import Rates
from mpiopt.training.problem import link_of

Vector = NDArray[np.float64]


class Targets(NamedTuple):
    """Targets and weights of a problem without an offset."""

    y: Any
    sample_weight: Any
    rates: Rates | None = None  # how the targets are weighted, if they are rates


def as_rates(
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    exposure: ArrayLike | None,
    offset: ArrayLike | None,
    model: Model,
    ranks: Comm,
) -> Targets:
    """Return the targets and weights of the problem without an exposure and an offset; collective.

    Raises
    ------
    ValueError
        On all ranks: a loss that takes none, or numbers out of range.
    """
    if exposure is None and offset is None:
        return Targets(y, sample_weight)
    with ranks.agree_on_errors():
        link = link_of(model)
        if not link or (exposure is not None and link == "identity"):
            name, more = ("exposure", "") if exposure is not None else ("offset", ", squared, huber, quantile")
            raise ValueError(f"{name} needs a loss of {OF_LOG}{more}; not {model.loss}")
        label = _numbers("y", y, len(np.asarray(y)))
        weight, out, shares = (
            None if given is None else _numbers(name, given, len(label))
            for name, given in (("sample_weight", sample_weight), ("offset", offset), ("exposure", exposure))
        )
        if shares is not None and not (shares > 0.0).all():
            row = int(np.argmin(shares > 0.0))
            raise ValueError(f"exposure, row {row + 1}: found {shares[row]:g}; it must be above 0")
        found = without_offset(label, weight, out, shares, link)
    if link == "identity":
        return Targets(found.label, sample_weight)
    weighted = float(link.partition(":")[2] or 1.0) != 0.0
    return Targets(found.label, found.weight, Rates(weighted, alone=sample_weight is None))


def _numbers(name: str, given: ArrayLike, rows: int) -> Vector:
    """Return one finite number for each row; ValueError otherwise."""
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers where there is an exposure or an offset") from None
    if found.shape != (rows,):
        raise ValueError(f"{name} must have one entry for each row of x: {rows}, not the shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds values that are not finite numbers")
    return found
