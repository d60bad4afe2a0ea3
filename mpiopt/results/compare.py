"""What a run cost until its certificate was small enough: bytes, rounds, seconds, epochs.

`mpiopt compare A.h5 B.h5 …`: what runs cost until a certificate of 1e-3, 1e-6, 1e-9, with ratios to the first.

Straight lines through logarithms: the linear rate of a run, and how sure it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.flags import parse
from mpiopt.core.history import duration
from mpiopt.data.formats.base import together
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.inspect import columns
from mpiopt.results.run_record import RunRecord, Table, names, with_history
from mpiopt.results.summary import size

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


def compare(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print the comparison of runs."""
    paths, _ = parse(words, {})
    if not paths:
        raise ValueError("compare needs runs: mpiopt compare A.h5 B.h5 …")
    print_on_root(comm, together(comm, lambda: compared(paths) if comm.rank == 0 else ""))
    return 0


def compared(paths: Sequence[str | Path]) -> str:
    """Give the table; ValueError, in one line, for a file that is no run or has no history."""
    records, shown = [with_history(path) for path in paths], names(paths)
    wanted = levels([r.history for r in records], max(r.tol for r in records))
    blocks = [level_table(records, shown, level) for level in wanted]
    beyond = [f"{level:g}: no run came so far" for level in LEVELS if level not in wanted]
    return "\n\n".join([*warnings(records), *blocks, *beyond, end_table(records, shown)])


def level_table(records: Sequence[RunRecord], shown: Sequence[str], level: float) -> str:
    """Give a line for each run: its costs until this certificate; - where it never came so far."""
    first = next(filter(None, (costs(r.history, level) for r in records)), None)
    lines = []
    for record, name in zip(records, shown, strict=True):
        mine = costs(record.history, level)
        cells = [("-", "") if mine is None or first is None else told(m, mine[m], first[m]) for m in MEASURES]
        lines.append([name, *(word for cell in cells for word in cell)])
    heads = ["run", *(word for name in MEASURES.values() for word in (name, ""))]
    return f"to {records[0].kind} {level:g}\n" + columns(heads, lines)


def told(measure: str, value: float, first: float) -> tuple[str, str]:
    """Give a cost and its ratio to that of the first run."""
    return written(measure, value), ratio(value, first)


def end_table(records: Sequence[RunRecord], shown: Sequence[str]) -> str:
    """Give a line for each run: where it ended."""
    lines = []
    for record, name in zip(records, shown, strict=True):
        last = record.history[-1]
        spent = [written(m, float(last[m])) for m in MEASURES]
        lines.append([name, f"{last['certificate']:.2e}", f"{last['objective']:.12g}", *spent])
    return "at the end\n" + columns(["run", "certificate", "objective", *MEASURES.values()], lines)


def warnings(records: Sequence[RunRecord]) -> list[str]:
    """Say what makes a comparison doubtful."""
    found = []
    if len({r.problem for r in records if r.finished}) > 1:
        found.append("note: these runs do not minimise the same objective on the same data")
    if len({r.kind for r in records if r.finished}) > 1:
        found.append("note: these runs have different kinds of certificate")
    return found


METHOD = (
    "least squares of ln(certificate) over epochs, on the evaluations of the second half of the digits (from the "
    "first certificate below the geometric mean of the first and the smallest); 95 % interval by Student's t, with "
    "the number of evaluations reduced to (1 - r)/(1 + r) of it where neighbouring residuals are correlated by r > 0"
)
FEWEST = 4  # evaluations
# 97.5 % quantiles that the series below is too short for, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}


class Line(NamedTuple):
    """The line ln y = a + slope · x by least squares; NaN where fewer than three points are positive."""

    slope: float
    error: float  # its standard error, had the residuals nothing to do with each other
    r2: float


class Rate(NamedTuple):
    """By what factor a certificate shrinks in an epoch."""

    factor: float
    low: float  # of the 95 % interval
    high: float
    points: int  # evaluations that the line goes through


def line(x: NDArray[np.float64], y: NDArray[np.float64]) -> Line:
    """Fit a straight line through ln y over x, where y is positive."""
    x, y = x[y > 0.0], np.log(y[y > 0.0])
    if len(x) < 3:
        return Line(math.nan, math.nan, math.nan)
    dx, dy = x - x.mean(), y - y.mean()
    spread, total = float(dx @ dx), float(dy @ dy)
    slope = float(dx @ dy) / spread
    rest = float(((dy - slope * dx) ** 2).sum())
    return Line(slope, math.sqrt(rest / (len(x) - 2) / spread), 1.0 - rest / total if total > 0.0 else 0.0)


def rate(epochs: NDArray[np.float64], certificates: NDArray[np.float64]) -> Rate | None:
    """Fit the linear rate as `METHOD` says; None where there are too few evaluations, or they do not fall."""
    usable = np.isfinite(certificates) & (certificates > 0.0)
    x, y = epochs[usable], certificates[usable]
    if len(x) < FEWEST:
        return None
    begin = int(np.argmax(y <= math.sqrt(y[0] * y.min())))
    x, y = x[begin:], y[begin:]
    found = line(x, y) if len(x) >= FEWEST and np.ptp(x) > 0.0 else None
    if found is None or found.slope >= 0.0:
        return None
    half = width(x, np.log(y), found)
    slope = found.slope
    return Rate(math.exp(slope), math.exp(slope - half), math.exp(slope + half), len(x))


def width(x: NDArray[np.float64], y: NDArray[np.float64], fit: Line) -> float:
    """Give half the width of the interval of the slope."""
    n, rest = len(x), (y - y.mean()) - fit.slope * (x - x.mean())
    power = float(rest @ rest)
    r = min(0.95, max(0.0, float(rest[1:] @ rest[:-1]) / power)) if power > 0.0 else 0.0
    effective = max(3.0, n * (1.0 - r) / (1.0 + r))
    return fit.error * math.sqrt((n - 2) / (effective - 2)) * student(effective - 2)


def student(freedom: float) -> float:
    """Give the 97.5 % quantile of Student's t, to 0.3 % (its series in 1/freedom; Abramowitz and Stegun 26.7.5)."""
    if freedom <= 8.0:
        return float(np.interp(freedom, list(T95), list(T95.values())))
    z = NormalDist().inv_cdf(0.975)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
