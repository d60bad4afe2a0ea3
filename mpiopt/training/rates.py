"""Exposures and offsets that a caller of `mpiopt.fit` gives as arrays: they stay, or change the targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Model
from mpiopt.data.offsets import STAYS, summed, without_offset
from mpiopt.data.tables.source import NO_EXPOSURE, NO_OFFSET, takes_exposure
from mpiopt.inference.goodness import Rates
from mpiopt.training.problem import link_of

SHOWN = 10  # ranks in a message

Vector = NDArray[np.float64]


class Targets(NamedTuple):
    """Targets and weights of a problem, and the offsets that stay in its margins."""

    y: Any
    sample_weight: Any
    offset: Vector | None = None
    rates: Rates | None = None  # how the targets are weighted, if they are rates
    added: Vector | None = None  # what predictions add to the margins: the offset, whether it stays or not


def as_rates(
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    exposure: ArrayLike | None,
    offset: ArrayLike | None,
    model: Model,
    ranks: Comm,
) -> Targets:
    """Return the targets and weights of the problem without an exposure and, if it can be, an offset; collective.

    Raises
    ------
    ValueError
        On all ranks: a loss that takes none, numbers out of range, or ranks of which only some give an argument.
    """
    given = {"sample_weight": sample_weight, "offset": offset, "exposure": exposure}
    refuse_one_sided({name: array is not None for name, array in given.items()}, ranks)
    if exposure is None and offset is None:
        return Targets(y, sample_weight)
    with ranks.agree_on_errors():
        link = link_of(model)
        if exposure is not None and not takes_exposure(link):
            raise ValueError(f"exposure {NO_EXPOSURE}; not {model.loss}")
        if not link:
            raise ValueError(f"offset {NO_OFFSET}; not {model.loss}")
        stays, rows = link.startswith(STAYS), len(np.asarray(y))
        label = np.zeros(rows) if stays else _numbers("y", y, rows)
        weight, out, shares = (
            None if array is None else _numbers(name, array, len(label)) for name, array in given.items()
        )
        if shares is not None and not (shares > 0.0).all():
            row = int(np.argmin(shares > 0.0))
            raise ValueError(f"exposure, row {row + 1}: found {shares[row]:g}; it must be above 0")
        if stays:
            stay = summed(out, shares, rows)
            return Targets(y, sample_weight, stay, added=stay)
        found = without_offset(label, weight, out, shares, link)
    if link == "identity":
        return Targets(found.label, sample_weight, added=found.offset)
    weighted = float(link.partition(":")[2] or 1.0) != 0.0
    rates = Rates(weighted, alone=sample_weight is None)
    return Targets(found.label, found.weight, rates=rates, added=found.offset)


def refuse_one_sided(given: Mapping[str, bool], ranks: Comm) -> None:
    """Raise ValueError, on all ranks, if some ranks give an argument and others do not; collective."""
    every = np.array(ranks.allgather(np.array([*given.values()], np.int64)))
    for name, here in zip(given, every.T, strict=True):
        if here.any() and not here.all():
            with_it, without = (listed_ranks(np.flatnonzero(here == there)) for there in (1, 0))
            raise ValueError(f"{name} is given on {with_it} and not on {without}; give it on all ranks, or on none")


def listed_ranks(ranks: NDArray[np.int64]) -> str:
    """Return ranks in words, the first ten of them.

    Examples
    --------
    >>> listed_ranks(np.array([1])), listed_ranks(np.array([0, 2]))
    ('rank 1', 'ranks 0, 2')
    """
    more = ", …" if len(ranks) > SHOWN else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks[:SHOWN]))}{more}"


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
