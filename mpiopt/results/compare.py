"""`mpiopt compare A.h5 B.h5 …`: the cost of runs until their certificates were small enough, and the ratios of costs.

Costs are bytes, rounds, seconds and epochs; the certificates are 1e-3, 1e-6, 1e-9 and the runs' tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.config.flags import parse
from mpiopt.core.durations import duration
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.inspect import columns
from mpiopt.results.run_record import RunRecord, Table, names, show_sound, with_history
from mpiopt.results.summary import size

LEVELS = (1e-3, 1e-6, 1e-9)  # certificates: a rough model, the default tolerance, a model to compare others with
# Column of the history: its name in tables.
MEASURES = {"bytes_sent": "bytes", "round": "rounds", "seconds": "seconds", "epoch": "epochs"}


def compare(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print the comparison of runs; return the exit code."""
    paths, _ = parse(words, {})
    if not paths:
        raise ValueError("compare needs runs: mpiopt compare A.h5 B.h5 …")
    show_sound(comm, paths, with_history, compared)
    return 0


def compared(paths: Sequence[str | Path]) -> str:
    """Return the tables; ValueError, one line, for a file that is not a run or has no history."""
    records, shown = [with_history(path) for path in paths], names(paths)
    known = levels([r.history for r in records], max(r.tol for r in records))
    blocks = [level_table(records, shown, level) for level in known]
    missed = [f"{level:g}: not reached by any run" for level in LEVELS if level not in known]
    return "\n\n".join([*warnings(records), *blocks, *missed, end_table(records, shown)])


def reached(history: Table, level: float) -> np.void | None:
    """Return the first row whose certificate is at most `level`; None without one."""
    good = np.flatnonzero(history["certificate"] <= level)
    return history[good[0]] if len(good) else None


def costs(history: Table, level: float) -> dict[str, float] | None:
    """Return the costs until that row, by column of the history; None if the level was not reached."""
    row = reached(history, level)
    return None if row is None else {name: float(row[name]) for name in MEASURES}


def written(measure: str, value: float) -> str:
    """Return a cost as text."""
    forms = {"bytes_sent": size, "seconds": duration, "round": "{:g}".format, "epoch": "{:.4g}".format}
    return forms[measure](value)


def ratio(value: float, first: float) -> str:
    """Return by which factor a cost is smaller (/2.5) or larger (x2.5) than the first one."""
    if value == first or value <= 0.0 or first <= 0.0:
        return "" if value != first else "="
    return f"/{first / value:.3g}" if value < first else f"x{value / first:.3g}"


def levels(histories: Sequence[Table], tol: float) -> list[float]:
    """Return those of LEVELS and the tolerance that at least one run reached; the first level if there are none."""
    every = sorted({*LEVELS, tol} - {0.0}, reverse=True)
    known = [level for level in every if any(reached(h, level) is not None for h in histories)]
    return known or [LEVELS[0]]


def level_table(records: Sequence[RunRecord], shown: Sequence[str], level: float) -> str:
    """Return a table with the costs of each run until this certificate; "-" if the run did not reach it."""
    first = next(filter(None, (costs(r.history, level) for r in records)), None)
    lines = []
    for record, name in zip(records, shown, strict=True):
        mine = costs(record.history, level)
        line = [name]
        for m in MEASURES:
            line += ["-", ""] if mine is None or first is None else [written(m, mine[m]), ratio(mine[m], first[m])]
        lines.append(line)
    heads = ["run", *(word for name in MEASURES.values() for word in (name, ""))]
    return f"to {records[0].kind} {level:g}\n" + columns(heads, lines)


def end_table(records: Sequence[RunRecord], shown: Sequence[str]) -> str:
    """Return a table with the last row of each run."""
    lines = []
    for record, name in zip(records, shown, strict=True):
        last = record.history[-1]
        spent = [written(m, float(last[m])) for m in MEASURES]
        lines.append([name, f"{last['certificate']:.2e}", f"{last['objective']:.12g}", *spent])
    return "at the end\n" + columns(["run", "certificate", "objective", *MEASURES.values()], lines)


def warnings(records: Sequence[RunRecord]) -> list[str]:
    """Return the reasons why the runs are not quite comparable."""
    notes = []
    if len({r.problem for r in records if r.finished}) > 1:
        notes.append("note: these runs do not minimise the same objective on the same data")
    if len({r.kind for r in records if r.finished}) > 1:
        notes.append("note: these runs have different kinds of certificate")
    return notes
