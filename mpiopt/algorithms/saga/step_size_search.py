"""The longest step that lets F fall, sought by trying: for steps without a full metric.

Up to that step the epochs needed fall as 1/γ, and it lies beyond what constants of the data promise by a factor that
nobody knows. So a longer step is tried after each period in which F fell, and where it failed the one before is taken
back: the next try comes later, and by a smaller factor. A step fails where F has risen, or where the gradient has
grown and F has fallen less than in the period before: the gradient is the first to see steps that are too long for
the steepest directions, of which F has little. Steps by hand or by a rule are only shortened, and brought back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga.state import DECREMENT, FACTOR, FALL, GREW, LAST, REST, ROUND, SCALE, SLOW, WAIT

Vector = NDArray[np.float64]

LEAST, LONGEST_WAIT = 1.2, 16.0  # the least factor by which a longer step is tried; periods between two tries
LONG = 0.25  # of a local epoch: rounds up to it cost hardly an epoch more than single steps (jobs/README.md, fact b)
NOISE = 4.0  # growth of the squared gradient that tells of steps that are too long
SHORTER = (0.7, 0.5, 0.5, 0.25)  # what is left of a step that is too long, by how often the way had to be cut


class PeriodResult(NamedTuple):
    """What an exact evaluation at the end of a period says."""

    value: float  # F
    squared: float  # the squared gradient, in the scaled columns
    tried: int  # how often the way had to be cut until F fell; above 2: all of it was given up
    lossy: bool  # exchanges are compressed


def sought(control: Vector, seen: PeriodResult, most: float) -> bool:
    """Set the scale of the next steps, at most `most`; say whether the ranks had gone too far apart."""
    growth, slower = _growth(control, seen.squared), _slower(control, seen.value)
    failed, trial = seen.tried > 0 or (growth > NOISE and slower and most > 1.0), bool(control[GREW])
    if failed and trial:
        _back(control)
    elif failed:
        control[SCALE] *= SHORTER[seen.tried]
        control[REST] = 1.0
    elif SLOW < growth <= 1.0 and not control[REST] and control[SCALE] < most:
        control[GREW] = min(float(control[FACTOR]), most / float(control[SCALE]))
        control[SCALE] *= control[GREW]
    else:
        control[GREW], control[REST] = 0.0, max(0.0, float(control[REST]) - 1.0)
    # Where a part of the way was good, or what exchanges lose is a part of how far the ranks went; and after rounds
    # so long that the ranks are the first suspects, whatever the step.
    long = seen.tried > 0 and control[ROUND] > LONG
    return long or (failed and seen.lossy and seen.tried <= 2) or (0 < seen.tried <= 2 and not trial)


def _growth(control: Vector, squared: float) -> float:
    """Give by how much the squared gradient has grown; 1 where that is not known."""
    before, control[DECREMENT] = float(control[DECREMENT]), squared
    return squared / before if 0.0 < before < math.inf else 1.0


def _slower(control: Vector, value: float) -> bool:
    """Say whether F fell less than in the period before."""
    before, now = float(control[FALL]), float(control[LAST]) - value
    control[LAST], control[FALL] = value, now
    return now < before


def _back(control: Vector) -> None:
    """Take back the step that was good; seek again later, by a smaller factor."""
    control[SCALE] /= control[GREW]
    control[FACTOR] = max(LEAST, math.sqrt(control[FACTOR]))
    control[WAIT] = min(LONGEST_WAIT, max(1.0, 2.0 * float(control[WAIT])))
    control[REST], control[GREW] = control[WAIT], 0.0
