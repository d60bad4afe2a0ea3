"""The search for the longest step that lets F fall, for steps without a full preconditioner.

The epochs to the optimum fall as 1/γ up to that step. It lies beyond the step that constants of the data promise, by
a factor that is not known in advance. So a longer step is tried after each period in which F fell. Where the trial
fails, the step before is taken back, and the next trial comes later and by a smaller factor. A trial fails where F
rose, or where the gradient grew and F fell less than in the period before: the gradient is the first to show steps
that are too long for the steepest directions, in which F has little to lose. A step that is set by hand or by a rule
is only shortened, and later brought back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mpiopt.algorithms.saga.state import StepControl
from mpiopt.algorithms.saga.tuning import TUNING


class PeriodResult(NamedTuple):
    """What an exact evaluation at the end of a period shows."""

    value: float  # F
    squared: float  # the squared gradient, in the scaled columns
    cuts: int  # how often the way had to be cut until F fell; above TUNING.cuts it was given up
    lossy: bool  # exchanges are compressed


def search(control: StepControl, period: PeriodResult, longest: float) -> bool:
    """Set the scale of the next steps, at most `longest`; return whether rounds were too long."""
    growth, slower = _gradient_growth(control, period.squared), _fell_less(control, period.value)
    failed = period.cuts > 0 or (growth > TUNING.noise and slower and longest > 1.0)
    trial = control.lengthened > 0.0
    if failed and trial:
        _take_back(control)
    elif failed:
        control.scale *= TUNING.shortened[period.cuts]
        control.rest = 1.0
    elif TUNING.slow < growth <= 1.0 and not control.rest and control.scale < longest:
        control.lengthened = min(control.growth, longest / control.scale)
        control.scale *= control.lengthened
    else:
        control.lengthened, control.rest = 0.0, max(0.0, control.rest - 1.0)
    # The round is too long if a part of the way was good, or if compression loses a part of the way. After a long
    # round with cuts this is the most likely cause, for any step.
    long = period.cuts > 0 and control.round_epochs > TUNING.short_round
    part_was_good = 0 < period.cuts <= TUNING.cuts
    return long or (failed and period.lossy and period.cuts <= TUNING.cuts) or (part_was_good and not trial)


def _gradient_growth(control: StepControl, squared: float) -> float:
    """Return the quotient of the squared gradient and the one before; 1 where that is not known."""
    before, control.decrement = control.decrement, squared
    return squared / before if 0.0 < before < math.inf else 1.0


def _fell_less(control: StepControl, value: float) -> bool:
    """Return whether F fell less than in the period before."""
    before, now = control.last_fall, control.last_value - value
    control.last_value, control.last_fall = value, now
    return now < before


def _take_back(control: StepControl) -> None:
    """Go back to the step before the trial; the next trial comes later and by a smaller factor."""
    control.scale /= control.lengthened
    control.growth = max(TUNING.least_growth, math.sqrt(control.growth))
    control.wait = min(TUNING.longest_wait, max(1.0, 2.0 * control.wait))
    control.rest, control.lengthened = control.wait, 0.0
