"""What a server that was away does with the gradients that piled up: one rule is one file.

The step is w − s Σ_j c_j g_j over the n gradients that are pending, in the order in which they came: the rule gives
the c_j and s. So gradients are added up as they come and none is kept.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass

from mpiopt.core.config.registry import Plugin


@dataclass(frozen=True)
class Backlog(Plugin, ABC):
    """A rule; without one of its own methods it is the plain sum, c_j = 1 and s = η."""

    def weight(self, age: int, place: int, norm: float) -> float:
        """Give c_j: `age` counts the updates since its weights were read, `place` those pending before it."""
        return 1.0

    def step(self, step: float, pending: int, norm: float) -> float:
        """Give s: `step` is η, `norm` that of Σ c_j g_j."""
        return step


def positive(name: str, value: float) -> None:
    """Refuse, with ValueError, what is not greater than 0."""
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, not {value}")
