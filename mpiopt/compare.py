"""`mpiopt compare A.h5 B.h5 …`: what runs cost until a certificate of 1e-3, 1e-6, 1e-9, with ratios to the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpiopt.comm import Comm
from mpiopt.datasets import together
from mpiopt.flags import parse
from mpiopt.milestones import LEVELS, MEASURES, costs, levels, ratio, written
from mpiopt.record import Record, names, with_history
from mpiopt.show import columns
from mpiopt.signals import Stop
from mpiopt.terminal import print_here


def compare(words: Sequence[str], comm: Comm, stop: Stop) -> int:
    """Print the comparison of runs."""
    paths, _ = parse(words, {})
    if not paths:
        raise ValueError("compare needs runs: mpiopt compare A.h5 B.h5 …")
    print_here(comm, together(comm, lambda: compared(paths) if comm.rank == 0 else ""))
    return 0


def compared(paths: Sequence[str | Path]) -> str:
    """Give the table; ValueError, in one line, for a file that is no run or has no history."""
    records, shown = [with_history(path) for path in paths], names(paths)
    wanted = levels([r.history for r in records], max(r.tol for r in records))
    blocks = [level_table(records, shown, level) for level in wanted]
    beyond = [f"{level:g}: no run came so far" for level in LEVELS if level not in wanted]
    return "\n\n".join([*warnings(records), *blocks, *beyond, end_table(records, shown)])


def level_table(records: Sequence[Record], shown: Sequence[str], level: float) -> str:
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


def end_table(records: Sequence[Record], shown: Sequence[str]) -> str:
    """Give a line for each run: where it ended."""
    lines = []
    for record, name in zip(records, shown, strict=True):
        last = record.history[-1]
        spent = [written(m, float(last[m])) for m in MEASURES]
        lines.append([name, f"{last['certificate']:.2e}", f"{last['objective']:.12g}", *spent])
    return "at the end\n" + columns(["run", "certificate", "objective", *MEASURES.values()], lines)


def warnings(records: Sequence[Record]) -> list[str]:
    """Say what makes a comparison doubtful."""
    found = []
    if len({r.problem for r in records if r.finished}) > 1:
        found.append("note: these runs do not minimise the same objective on the same data")
    if len({r.kind for r in records if r.finished}) > 1:
        found.append("note: these runs have different kinds of certificate")
    return found
