"""What a run cost until its certificate was small enough: bytes, rounds, seconds, epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiopt.record import Table
from mpiopt.recorder import duration
from mpiopt.report import size

LEVELS = (1e-3, 1e-6, 1e-9)
# Field of the history: what a reader calls it.
MEASURES = {"bytes_sent": "bytes", "round": "rounds", "seconds": "seconds", "epoch": "epochs"}


def reached(history: Table, level: float) -> np.void | None:
    """Give the first evaluation whose certificate is at most `level`; None where there is none."""
    good = np.flatnonzero(history["certificate"] <= level)
    return history[good[0]] if len(good) else None


def costs(history: Table, level: float) -> dict[str, float] | None:
    """Give what was spent until then, by field of the history."""
    row = reached(history, level)
    return None if row is None else {name: float(row[name]) for name in MEASURES}


def written(measure: str, value: float) -> str:
    """Give a cost for a reader."""
    forms = {"bytes_sent": size, "seconds": duration, "round": "{:g}".format, "epoch": "{:.4g}".format}
    return forms[measure](value)


def ratio(value: float, first: float) -> str:
    """Say how many times less (/2.5) or more (x2.5) than the first."""
    if value == first or value <= 0.0 or first <= 0.0:
        return "" if value != first else "="
    return f"/{first / value:.3g}" if value < first else f"x{value / first:.3g}"


def levels(histories: Sequence[Table], tol: float) -> list[float]:
    """Give those levels, and the tolerance, that at least one run has reached; the first where none has."""
    every = sorted({*LEVELS, tol} - {0.0}, reverse=True)
    found = [level for level in every if any(reached(h, level) is not None for h in histories)]
    return found or [LEVELS[0]]
