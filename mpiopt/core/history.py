"""The record of a run: events, evaluations of the objective, seconds of each phase, and lines of progress."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TextIO, get_type_hints

import numpy as np
from numpy.typing import NDArray

ALL = -1  # in place of a rank, for an event of all ranks


class Event(NamedTuple):
    """A restart, the loss of a rank, a recovery: one row of `/events`; seconds and round as in the history."""

    seconds: float
    round: int
    kind: str  # one word: "resumed", "failed", "recovered" …
    rank: int  # or ALL
    text: str  # one line for a reader


def events_to_text(events: Iterable[Event]) -> str:
    """Return events as text for a checkpoint; `events_from_text` reads the same bits."""
    return json.dumps(list(events))


def events_from_text(text: str) -> list[Event]:
    """Return the events that `events_to_text` wrote."""
    return [Event(*event) for event in json.loads(text)]


logger = logging.getLogger(__name__)
COLUMNS = 80
PHASES = ("load", "compute", "compress", "communicate", "wait", "evaluate", "checkpoint")


class HistoryRow(NamedTuple):
    """One evaluation of the whole objective; seconds count from the first start of the run, over all restarts."""

    round: int
    epoch: float
    seconds: float
    seconds_compute: float
    seconds_communicate: float
    seconds_wait: float
    bytes_sent: int
    bytes_plain: int
    objective: float
    certificate: float
    step_size: float


UNITS = {
    "round": "exchanges",
    "epoch": "row gradients over all ranks / rows",
    "seconds": "wall seconds, without loading",
    "seconds_compute": "mean over ranks",
    "seconds_communicate": "mean over ranks",
    "seconds_wait": "mean over ranks",
    "bytes_sent": "sum over ranks",
    "bytes_plain": "sum over ranks, had the same exchanges sent float64 numbers",
    "objective": "F(w)",
    "certificate": "relative duality gap, or norm of the gradient",
    "step_size": "1/curvature",
}


def table(rows: Sequence[HistoryRow]) -> NDArray[np.void]:
    """Return the rows as one structured array."""
    kinds = {int: np.int64, float: np.float64}
    columns = [(name, kinds[kind]) for name, kind in get_type_hints(HistoryRow).items()]
    return np.array([tuple(row) for row in rows], dtype=columns)


def rows_to_text(rows: Sequence[HistoryRow]) -> str:
    """Return the rows as text for a checkpoint; `rows_from_text` reads the same bits."""
    return json.dumps(rows)


def rows_from_text(text: str) -> list[HistoryRow]:
    """Return the rows that `rows_to_text` wrote."""
    return [HistoryRow(*row) for row in json.loads(text)]


@dataclass
class Clock:
    """Seconds of this rank in each phase."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    now: Callable[[], float] = time.perf_counter

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block in the phase `name`."""
        begin = self.now()
        try:
            yield
        finally:
            self.add(name, self.now() - begin)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds measured elsewhere, such as the waiting of a channel, in the phase `name`."""
        if name not in self.seconds:
            raise KeyError(f"unknown phase {name!r}; known: {', '.join(self.seconds)}")
        self.seconds[name] += seconds


class Progress:
    """Shows nothing of the progress of a run; subclasses show it in a terminal or in a log."""

    def show(self, row: HistoryRow, tolerance: float) -> None:
        """Show the last evaluation."""

    def end(self) -> None:
        """Leave the cursor at the start of a line."""


class Terminal(Progress):
    """One line, rewritten at most ten times a second."""

    def __init__(self, out: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._out, self._now, self._next, self._open = out, now, -math.inf, False

    def show(self, row: HistoryRow, tolerance: float) -> None:
        """Rewrite the line."""
        if self._now() >= self._next:
            self._out.write("\r" + line(row, tolerance).ljust(COLUMNS - 1))
            self._out.flush()
            self._next, self._open = self._now() + 0.1, True

    def end(self) -> None:
        """Go to the next line."""
        if self._open:
            self._out.write("\n")
            self._open = False


class Log(Progress):
    """Logs plain lines, at first each second, then less and less often: a day's run fits on two pages."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = now()
        self._next = self._start

    def show(self, row: HistoryRow, tolerance: float) -> None:
        """Log a line if it is time for one."""
        if self._now() >= self._next:
            logger.info(line(row, tolerance))
            self._next = self._now() + min(1800.0, max(1.0, 0.2 * (self._now() - self._start)))


def progress(rank: int, quiet: bool, out: TextIO) -> Progress:
    """Return what fits the output; nothing on ranks above 0, for quiet jobs, and if information is not logged."""
    if rank != 0 or quiet or not logger.isEnabledFor(logging.INFO):
        return Progress()
    return Terminal(out) if out.isatty() and _seen_by_a_terminal(os.environ) else Log()


def _seen_by_a_terminal(environment: Mapping[str, str]) -> bool:
    # Open MPI's mpirun gives ranks a pseudo-terminal even if its own output goes to a file: look at its own output.
    if not {"PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"} & environment.keys():
        return True
    try:
        launcher = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.isatty(launcher)
    finally:
        os.close(launcher)


def line(row: HistoryRow, tolerance: float) -> str:
    """Return one row in less than 80 columns, with a bar for the decades of the certificate that are done."""
    return (
        f"[{bar(row.certificate, tolerance)}] {row.certificate:8.1e} objective {row.objective:<12.8g}"
        f" epoch {row.epoch:<6.{1 if row.epoch < 1000 else 0}f} round {row.round:<7d} {duration(row.seconds):>7}"
    )[: COLUMNS - 1]


def bar(certificate: float, tolerance: float, width: int = 10) -> str:
    """Return a bar of `width` places, filled as far as log(certificate) has gone from 0 to log(tolerance)."""
    if not (certificate > 0.0 and 0.0 < tolerance < 1.0):
        share = 1.0 if certificate == 0.0 else 0.0
    else:
        share = min(1.0, max(0.0, math.log(certificate) / math.log(tolerance)))
    done = int(share * width)
    return "#" * done + "." * (width - done)


def duration(seconds: float) -> str:
    """Return seconds as text: 3.21 s, 4m05s, 2h03m."""
    if seconds < 99.95:
        return f"{seconds:.3g} s" if seconds >= 0.1 else f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
