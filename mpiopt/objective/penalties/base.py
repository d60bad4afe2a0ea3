"""Penalties on the weights (never on the intercept): h(w) = l1 ‖w‖₁ + (l2/2) ‖w‖², or a part of it."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.core.config.registry import Plugin


@dataclass(frozen=True)
class Penalty(Plugin, ABC):
    """A separable penalty, known by its strengths l1 and l2.

    A member has the options `l1`, `l2`, both or none; a strength without an option is 0. Kernels, objective and
    certificate read the strengths alone, so a penalty of another form needs kernels of its own.

    Attributes
    ----------
    smooth : bool
        Whether h has no corner, which means no `l1`.

    Raises
    ------
    ValueError
        If an option is negative or not finite.

    Examples
    --------
    >>> Penalty.make("elastic-net", {"l1": 0.1, "l2": 0.5}).strengths
    (0.1, 0.5)
    >>> Penalty.make("ridge").strengths
    (0.0, 0.0001)
    """

    smooth: ClassVar[bool]

    def __post_init__(self) -> None:
        for option in self.options():
            number = getattr(self, option)
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"{option} must be a number >= 0, not {number}")

    @property
    def strengths(self) -> tuple[float, float]:
        """The pair (l1, l2)."""
        return float(getattr(self, "l1", 0.0)), float(getattr(self, "l2", 0.0))
