"""Step-size rules: what ranks with steps of their own exchange, and the common step that follows.

After A. I. Rikos, N. Bastianello, T. Charalambous, K. H. Johansson, "DLAS-R-FTC", CDC 2025 (arXiv 2508.05887), whose
rule is `mean`. A rule does not communicate: the algorithm computes the means and maxima that the rule needs.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from mpiopt.core.config.registry import Plugin


class Exchanged(enum.Enum):
    """What the ranks exchange for a rule; each rank contributes one number to a mean or maximum."""

    MEAN = "mean of a number, every round"
    MAX = "maximum of a number, every round"
    MAX_ONCE = "maximum of a number, before round 0"
    MEAN_GRADIENT = "only the mean gradient"
    NOTHING = "nothing"


class LocalStep(NamedTuple):
    """What a rank knows of its own function f_i."""

    step: float  # η_i, by AdGD (`mpiopt.algorithms.step_sizes.adgd`)
    lipschitz: float  # L_i, a Lipschitz constant of ∇f_i; inf if it is not known


@dataclass(frozen=True)
class StepSize(Plugin, ABC):
    """A plug-in that turns what the ranks know of their own functions into a step γ.

    A rule defines `exchanged` and `step`, and overrides `contribution` and `curvature` where the defaults do not fit.

    Attributes
    ----------
    exchanged
        What the ranks exchange.
    common
        Whether all ranks get the same step.
    algorithms
        The algorithms that accept the rule by name.

    Examples
    --------
    Two ranks whose own steps are 0.5 and 0.1 use the harmonic mean of the two:

    >>> from mpiopt.algorithms.step_sizes.base import LocalStep, StepSize
    >>> rule, ranks = StepSize.make("harmonic"), [LocalStep(0.5, float("inf")), LocalStep(0.1, float("inf"))]
    >>> mean = sum(rule.contribution(local) for local in ranks) / 2
    >>> round(rule.step(mean, ranks[0]), 4)
    0.1667
    """

    exchanged: ClassVar[Exchanged]
    common: ClassVar[bool] = True
    algorithms: ClassVar[tuple[str, ...]] = ("dlas",)

    def contribution(self, local: LocalStep) -> float:
        """Return the number of this rank, of which the mean or the maximum is taken; η_i by default."""
        return local.step

    @abstractmethod
    def step(self, agreed: float, local: LocalStep) -> float:
        """Return γ.

        Parameters
        ----------
        agreed
            The mean or the maximum of the contributions, or AdGD's step for the mean gradient.
        local
            What this rank knows of its own function.

        Returns
        -------
        float
            γ of this round, above 0.
        """

    def curvature(self, measured: float, filtered: float) -> float:
        """Return the curvature for which AdGD chooses η_i: by default the larger of L_t and its filtered value."""
        return max(measured, filtered)

    @classmethod
    def rules_of(cls, algorithm: str) -> dict[str, type[Self]]:
        """Return the rules that an algorithm accepts, by name."""
        return {name: kind for name, kind in cls.known().items() if algorithm in kind.algorithms}

    def checked_for(self, algorithm: str) -> Self:
        """Return the rule itself, or raise ValueError if the algorithm does not accept it."""
        if algorithm not in self.algorithms:
            known = ", ".join(StepSize.rules_of(algorithm))
            raise ValueError(f"{algorithm} does not accept the rule {self.name}; choose one of {known}")
        return self

    @classmethod
    def figures(cls) -> dict[str, str]:
        """Return what `mpiopt list stepsizes` shows of a rule: what is exchanged, and which algorithms accept it."""
        return {"exchanged": cls.exchanged.value, "for": ", ".join(cls.algorithms)}
