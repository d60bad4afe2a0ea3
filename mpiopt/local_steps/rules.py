"""What `step_size` of distributed SAGA may be: a number, auto, or a rule of the family `stepsizes` by name."""

from __future__ import annotations

import math

from mpiopt.plugin import nearest
from mpiopt.stepsizes import StepSize
from mpiopt.stepsizes.fixed import Fixed

AUTO = "auto"


def rule_of(step_size: float | str) -> StepSize | None:
    """Give the rule; None for auto (or 0): chosen, and adapted to progress.

    Raises
    ------
    ValueError
        If it is neither a number from 0 nor a word that saga knows.
    """
    if isinstance(step_size, str):
        known = StepSize.taken_by("saga")
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
