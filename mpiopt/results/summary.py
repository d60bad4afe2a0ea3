"""The tables at the end of a run: the result, and where time, traffic and memory went."""

from __future__ import annotations

import re
import resource
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.history import Clock, HistoryRow

LEAST_SECONDS = 0.0005  # what is less is shown as 0.000


WIDTH = 80  # columns of a terminal


def result_table(row: HistoryRow, kind: str, tolerance: float, status: str, path: str, smoothing: str = "") -> str:
    """Return the table of the result; `kind` is the name of the certificate, `status` the ending in words.

    `smoothing` says how far the loss is from the one that it smooths.

    A row that says that nothing was done or sent is left out.
    """
    return _two_columns(
        [
            ("status", status),
            ("objective", f"{row.objective:.15g}"),
            (kind, f"{row.certificate:.3e} (tolerance {tolerance:.1e})"),
            *([("smoothing", smoothing)] if smoothing else []),
            ("epochs", f"{row.epoch:.6g}"),
            *([("rounds", f"{row.round}")] if row.round else []),
            *([("bytes sent", saved(row.bytes_sent, row.bytes_plain))] if row.bytes_sent else []),
            ("seconds", f"{row.seconds:.3f} from the first evaluation on, without reading and compiling"),
            ("result", path),
        ]
    )


def saved(sent: int, plain: int) -> str:
    """Return the bytes sent, and their share of the bytes that exchanges without compression would send."""
    return size(sent) if plain <= 1.01 * sent else f"{size(sent)}, 1/{plain / sent:.3g} of {size(plain)}"


def times(clock: Clock, seconds: float, comm: Comm) -> NDArray[np.void]:
    """Return the seconds of every rank, (ranks,), with a field for each phase, "other" and "total"; collective.

    `seconds` is this rank's whole time; seconds that no phase has counted are "other".
    """
    phases = {**clock.seconds, "other": max(0.0, seconds - sum(clock.seconds.values())), "total": seconds}
    mine = np.array([tuple(phases.values())], [(name, np.float64) for name in phases])
    return np.concatenate(comm.allgather(mine.view(np.float64))).view(mine.dtype)


def time_table(every: NDArray[np.void]) -> str:
    """Return the table of the phases: min, mean and max over the ranks, and the share of the mean total.

    Phases that took no time that the table could show are left out.
    """
    total = max(every["total"].mean(), 1e-300)
    lines = [f"{'where the time went':<20} {'min s':>9} {'mean s':>9} {'max s':>9} {'share':>6}"]
    for name in every.dtype.names or ():
        column = every[name]
        if column.max() < LEAST_SECONDS:
            continue
        share = f"{100 * column.mean() / total:.0f} %"
        lines.append(f"  {name:<18} {column.min():9.3f} {column.mean():9.3f} {column.max():9.3f} {share:>6}")
    return "\n".join(lines)


def traffic_table(every: NDArray[np.void]) -> str:
    """Return the table of the traffic: bytes sent, received, and sent by exact sums; min, mean and max over ranks."""
    lines = [f"{'traffic of a rank':<20} {'min':>10} {'mean':>10} {'max':>10}"]
    for name in ("bytes_sent", "bytes_received", "bytes_plain"):
        column = every[name]
        if not column.any():
            continue
        numbers = (size(v) for v in (column.min(), column.mean(), column.max()))
        label = {"bytes_plain": "by exact sums"}.get(name, name.removeprefix("bytes_"))
        lines.append(f"  {label:<18} " + " ".join(f"{v:>10}" for v in numbers))
    first = every[0]
    lines.append(f"  {'messages':<18} {first['messages']:>10} in {first['exchanges']} exchanges of rank 0")
    return "\n".join(lines)


def graph_line(rounds: int) -> str:
    """Return how often every rank sent along the graph, in words."""
    return f"rounds along the graph  {rounds}, with those in which it was learned"


def distance_line(distance: float) -> str:
    """Return the distance of the ranks' models from their mean, which is the result, in words."""
    return f"ranks' models           {distance:.1e} from their mean, root mean square of the 2-norm"


def memory_table(parts: Sequence[tuple[str, int]], comm: Comm) -> str:
    """Return the table of the memory: bytes of each part, and the peak of the process; collective."""
    named = [*parts, ("peak of the process", peak_nbytes())]
    every = np.array(comm.allgather(np.array([nbytes for _, nbytes in named], np.int64)))
    lines = [f"{'memory of a rank':<20} {'min':>10} {'max':>10} {'all ranks':>10}"]
    for (name, _), column in zip(named, every.T, strict=True):
        if not column.any():
            continue
        lines.append(f"  {name:<18} {size(column.min()):>10} {size(column.max()):>10} {size(column.sum()):>10}")
    return "\n".join(lines)


def work_line(visited: float, comm: Comm) -> str:
    """Return how many rows a rank visited in local steps, in words; collective."""
    every = np.concatenate(comm.allgather(np.array([visited])))
    return f"rows visited by a rank  {every.min():.0f} min  {every.mean():.0f} mean  {every.max():.0f} max"


def peak_nbytes() -> int:
    """Return the largest memory of this process so far, in bytes.

    On Linux ru_maxrss includes the size of the process that started this one; VmHWM does not.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def metrics_line(found: Mapping[str, float]) -> str:
    """Return metrics with their names, in one line; rows of one class have no AUC."""
    return ", ".join(
        f"{name} {value:.6g}" if value == value else f"no {name} (one class)" for name, value in found.items()
    )


def wrapped(text: str) -> str:
    """Break a line that is wider than a terminal between its words."""
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def size(nbytes: float) -> str:
    """Return a number of bytes with a unit: 512 B, 1.43 MB."""
    number, unit = float(nbytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 999.5 or unit == "PB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"


def _two_columns(pairs: Sequence[tuple[str, str]]) -> str:
    widest = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name:<{widest}}  {value}" for name, value in pairs)
