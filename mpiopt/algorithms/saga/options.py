"""The options of distributed SAGA."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpiopt.algorithms.step_sizes.base import Exchanged, StepSize
from mpiopt.algorithms.step_sizes.rules import Fixed
from mpiopt.core.config.registry import nearest

AUTO = "auto"
EXCHANGES = ("sync", "overlap", "timed", "async")


VARIANTS = ("A", "B", "C", "D", "E")


PRECONDITIONERS = ("auto", "none", "diagonal", "full")


@dataclass(frozen=True)
class SagaOptions:
    """What a user may set; the defaults are chosen by the data."""

    variant: str = "B"
    preconditioner: str = "auto"
    local_steps: int = 0  # H, rows visited by each rank in a round; 0: chosen, -1: by measured speeds
    stretch: float = 1.0  # times longer rounds than chosen
    step_size: float | str = "auto"  # γ for one row (none, diagonal) or η (full), or theoretical, line-search, global
    batch: int = 0  # rows in a step; 0: chosen
    sampling: str = "permutation"  # of blocks, anew each epoch; or "uniform": rows with replacement, as in the paper
    refresh: float = -1.0  # epochs between refreshes; 0: never, -1: chosen
    warm_start: bool = True  # begin on a part of the rows, where there are many for each unknown
    exchange: str = "sync"  # or "overlap", "timed", "async"
    round_seconds: float = 0.0  # of a timed round; 0: what the median rank needs for H rows
    staleness: int = 0  # rounds that a rank of an async run may be ahead of the slowest; 0: any number
    extrapolate: int = 0  # m, of the models at the last m + 1 refreshes, guarded by an exact evaluation; 0: off
    lazy: bool = False  # CSR rows without a full metric: the exact iterates of dense rows, a little slower

    def __post_init__(self) -> None:
        _one_of("variant", self.variant, VARIANTS)
        _one_of("preconditioner", self.preconditioner, PRECONDITIONERS)
        _one_of("exchange", self.exchange, EXCHANGES)
        _one_of("sampling", self.sampling, ("permutation", "uniform"))
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
        """The rule of the step sizes; None: chosen, and adapted to progress."""
        return rule_of(self.step_size)

    def _check_rule(self) -> None:
        rule = self.rule
        if rule is None or not isinstance(self.step_size, str):
            return
        if self.preconditioner == "full":
            raise ValueError(f"step_size {rule.name} is for steps without a full metric, not preconditioner 'full'")
        if rule.exchanged in (Exchanged.MAX, Exchanged.MEAN_GRADIENT) and self.exchange not in ("sync", "timed"):
            raise ValueError(f"step_size {rule.name} needs exchange 'sync' or 'timed', not {self.exchange!r}")


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{field} must be one of {', '.join(allowed)}, not {value!r}")


def rule_of(step_size: float | str) -> StepSize | None:
    """Give the rule; None for auto (or 0): chosen, and adapted to progress.

    Raises
    ------
    ValueError
        If it is neither a number from 0 nor a word that saga knows.
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


def fixed_of(step_size: float | str) -> float:
    """Give the number, 0 for all else: of steps in the full metric, which have no other rules."""
    return 0.0 if isinstance(step_size, str) else float(step_size)
