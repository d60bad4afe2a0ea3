"""Rules by which ranks with steps of their own come to one step: what they exchange for it, and what they make of it.

After A. I. Rikos, N. Bastianello, T. Charalambous, K. H. Johansson, "DLAS-R-FTC", CDC 2025 (arXiv 2508.05887), whose
rule is `mean`. A rule is pure: an algorithm takes the means and maxima that it asks for.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from mpiopt.core.config.registry import Plugin


class Way(enum.Enum):
    """What the ranks do with their numbers."""

    MEAN = "their mean, every round"
    MAX = "their maximum, every round"
    ONCE = "their maximum, before the first round"
    GRADIENT = "nothing but the mean gradient"
    NOTHING = "nothing"


class Own(NamedTuple):
    """What a rank knows of its own function f_i."""

    step: float  # η_i, by AdGD (`mpiopt.algorithms.step_sizes.adgd`)
    bound: float  # L_i, a Lipschitz constant of ∇f_i; inf where it is not known


@dataclass(frozen=True)
class StepSize(Plugin, ABC):
    """A plug-in; `way` says what is exchanged, `number` what of this rank, `step` what comes of it."""

    way: ClassVar[Way]
    common: ClassVar[bool] = True  # all ranks get the same step
    algorithms: ClassVar[tuple[str, ...]] = ("dlas",)  # that take it by its name

    def number(self, own: Own) -> float:
        """Give the number that this rank brings, where numbers are exchanged."""
        return own.step

    @abstractmethod
    def step(self, agreed: float, own: Own) -> float:
        """Give γ_t: `agreed` is the mean or the maximum of the numbers, or AdGD's step for the mean gradient."""

    def steepness(self, now: float, filtered: float) -> float:
        """Give the curvature that a rank's own step is for: as measured now, or filtered; by default the greater."""
        return max(now, filtered)

    @classmethod
    def taken_by(cls, algorithm: str) -> dict[str, type[Self]]:
        """Give the rules that an algorithm takes, by name."""
        return {name: kind for name, kind in cls.known().items() if algorithm in kind.algorithms}

    def of(self, algorithm: str) -> Self:
        """Give the rule itself, or refuse it where the algorithm does not take it."""
        if algorithm not in self.algorithms:
            known = ", ".join(StepSize.taken_by(algorithm))
            raise ValueError(f"rule {self.name} is for {', '.join(self.algorithms)}; {algorithm} takes {known}")
        return self

    @classmethod
    def figures(cls) -> dict[str, str]:
        """Say what is exchanged, and who takes the rule."""
        return {"exchanged": cls.way.value, "for": ", ".join(cls.algorithms)}
