"""The options of distributed SAGA."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpiopt.algorithms import preconditioner
from mpiopt.algorithms.step_sizes.base import Exchanged, StepSize
from mpiopt.algorithms.step_sizes.rules import Fixed
from mpiopt.core.config.registry import nearest
from mpiopt.objective.objective import Objective

AUTO = "auto"
EXCHANGES = ("sync", "overlap", "timed", "async")
VARIANTS = ("A", "B", "C", "D", "E")
PRECONDITIONERS = ("auto", "none", "diagonal", "full")
SAMPLINGS = ("permutation", "uniform")


@dataclass(frozen=True)
class SagaOptions:
    """What a user may set; by default the data decide.

    Parameters
    ----------
    variant : {"A", "B", "C", "D", "E"}
        The correction of local steps, see `Saga`. Preconditioned steps have their own.
    preconditioner : {"auto", "none", "diagonal", "full"}
        The steps' preconditioner: none, the curvature of each column, or the curvature matrix.
    local_steps : int
        H, rows that each rank visits in a round; 0: chosen, −1: by the measured speeds of network and kernels.
    stretch : float
        Factor on the chosen length of a round.
    step_size : float or str
        γ for one row (preconditioner none or diagonal) or η (full); or auto, theoretical, line-search, global.
    batch : int
        Rows in a step; 0: chosen.
    sampling : {"permutation", "uniform"}
        Blocks in a new random order each epoch, or drawn with replacement as in the paper.
    refresh : float
        Epochs between two refreshes of the table; 0: never, −1: chosen.
    warm_start : bool
        Begin on a part of the rows where there are many for each unknown.
    exchange : {"sync", "overlap", "timed", "async"}
        When the ranks exchange, see `Saga`.
    round_seconds : float
        Length of a timed round in seconds; 0: what the median rank needs for H rows.
    staleness : int
        Rounds that a rank of an asynchronous run may be ahead of the slowest; 0: any number.
    extrapolate : int
        m, where the models at the last m + 1 refreshes are extrapolated; 0: off.
    lazy : bool
        Sparse rows without a full preconditioner get the exact iterates of dense rows, a little more slowly.
    """

    variant: str = "B"
    preconditioner: str = "auto"
    local_steps: int = 0
    stretch: float = 1.0
    step_size: float | str = "auto"
    batch: int = 0
    sampling: str = "permutation"
    refresh: float = -1.0
    warm_start: bool = True
    exchange: str = "sync"
    round_seconds: float = 0.0
    staleness: int = 0
    extrapolate: int = 0
    lazy: bool = False

    def __post_init__(self) -> None:
        _one_of("variant", self.variant, VARIANTS)
        _one_of("preconditioner", self.preconditioner, PRECONDITIONERS)
        _one_of("exchange", self.exchange, EXCHANGES)
        _one_of("sampling", self.sampling, SAMPLINGS)
        least = {"local_steps": -1, "batch": 0, "extrapolate": 0, "round_seconds": 0, "staleness": 0}
        for field, value in least.items():
            if getattr(self, field) < value:
                raise ValueError(f"{field} must be at least {value}, not {getattr(self, field)}")
        self._check_rule()
        if not self.stretch > 0:
            raise ValueError(f"stretch must be greater than 0, not {self.stretch}")
        for field, exchange_ in (("round_seconds", "timed"), ("staleness", "async")):
            if getattr(self, field) and self.exchange != exchange_:
                raise ValueError(f"{field} is for exchange {exchange_!r} only, not for {self.exchange!r}")
        if self.exchange == "async" and (self.extrapolate or not self.refresh):
            raise ValueError(
                "exchange 'async' needs refreshes and no extrapolation: leave out refresh and extrapolate"
            )

    @property
    def rule(self) -> StepSize | None:
        """The rule of the step sizes; None for auto: chosen, and adapted to progress."""
        return rule_of(self.step_size)

    @property
    def fixed_step(self) -> float:
        """The step size where it is a number, else 0."""
        return 0.0 if isinstance(self.step_size, str) else float(self.step_size)

    def fully_preconditioned(self, objective: Objective) -> bool:
        """Return whether local steps have the full preconditioner.

        By default they have it where its width² numbers fit and the penalty is smooth: a prox with a full matrix is
        no longer one of each coordinate. A step size by a rule is for steps without.

        Raises
        ------
        ValueError
            If "full" is asked for and the penalty is not smooth.
        """
        smooth = objective.penalty.strengths[0] == 0.0
        if self.preconditioner == "full" and not smooth:
            raise ValueError("preconditioner 'full' needs a smooth penalty; with l1 use 'diagonal' or 'none'")
        # Curvature that the classes share leads the steps of single classes astray.
        exact = objective.outputs == 1 or preconditioner.is_coupled(objective)
        by_rule = isinstance(self.step_size, str) and self.rule is not None
        fits = smooth and exact and not by_rule and objective.width <= preconditioner.LARGEST_WIDTH
        return self.preconditioner == "full" or (self.preconditioner == "auto" and fits)

    def _check_rule(self) -> None:
        """Raise ValueError if the rule of the step size does not fit the other options."""
        rule = self.rule
        if rule is None or not isinstance(self.step_size, str):
            return
        if self.preconditioner == "full":
            raise ValueError(f"step_size {rule.name} needs preconditioner 'auto', 'none' or 'diagonal', not 'full'")
        if rule.exchanged in (Exchanged.MAX, Exchanged.MEAN_GRADIENT) and self.exchange not in ("sync", "timed"):
            raise ValueError(f"step_size {rule.name} needs exchange 'sync' or 'timed', not {self.exchange!r}")


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ValueError if the value is not one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{field} must be one of {', '.join(allowed)}, not {value!r}")


def rule_of(step_size: float | str) -> StepSize | None:
    """Return the rule of an option `step_size`; None for auto or 0: chosen, and adapted to progress.

    Raises
    ------
    ValueError
        If it is neither a finite number of at least 0 nor the name of a rule for saga.
    """
    if isinstance(step_size, str):
        known = StepSize.rules_of("saga")
        words = [AUTO, *(name for name in known if name != Fixed.name)]
        if step_size not in words:
            hint = nearest(step_size, words)
            raise ValueError(f"step_size must be a number or one of {', '.join(words)}, not {step_size!r}{hint}")
        return None if step_size == AUTO else known[step_size]()
    if isinstance(step_size, bool) or not 0.0 <= step_size < math.inf:
        raise ValueError(f"step_size must be at least 0, not {step_size}")
    return Fixed(float(step_size)) if step_size else None
