"""The progress of a run: a bar in a terminal, plain lines in a file, with an estimate of the time left.

The bar is tqdm's: it knows the width of terminals and what they can show. Without tqdm a terminal gets plain lines.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from mpiopt.core.config.job import Stopping
from mpiopt.core.durations import duration
from mpiopt.core.history import HistoryRow
from mpiopt.results.rate import rate

logger = logging.getLogger("mpiopt.progress")

RECENT = 12  # evaluations through which the rate is fitted: it changes in a run
WIDTH = 10  # places of the bar
BETWEEN = 0.1  # seconds between two changes of the bar
# Seconds between two lines of a log: at first, at most, and what part of the run so far: a day fits on two pages.
FIRST, LONGEST, SHARE = 1.0, 1800.0, 0.2


def seconds_left(rows: Sequence[HistoryRow], stop: Stopping) -> float | None:
    """Return the estimated seconds until the certificate reaches its tolerance or a budget is spent.

    Parameters
    ----------
    rows : sequence of HistoryRow
        The history so far.
    stop : Stopping
        Tolerance and budgets.

    Returns
    -------
    float or None
        None as long as the certificate does not fall, or there are too few evaluations.
    """
    recent = list(rows[-RECENT:])
    if len(recent) < 2:
        return None
    seconds = np.array([row.seconds for row in recent])
    # A certificate may rise for a while; what has been reached stays reached.
    best = np.minimum.accumulate([row.certificate for row in recent])
    ends = []
    found = rate(seconds - seconds[0], best)
    if found is not None and found.high < 1.0 and stop.tol < best[-1]:  # it falls for sure
        ends.append(math.log(best[-1] / stop.tol) / -math.log(found.factor))
    epochs = recent[-1].epoch - recent[0].epoch
    if epochs > 0 and math.isfinite(stop.max_epochs) and ends:
        ends.append((stop.max_epochs - recent[-1].epoch) * (seconds[-1] - seconds[0]) / epochs)
    if math.isfinite(stop.max_seconds):
        ends.append(stop.max_seconds - float(seconds[-1]))
    return max(0.0, min(ends)) if ends else None


class Progress:
    """Collects the history of a run and shows nothing; subclasses show it."""

    def __init__(self, stop: Stopping) -> None:
        self.stop = stop
        self.rows: list[HistoryRow] = []

    def show(self, row: HistoryRow) -> None:
        """Show the last evaluation, if it is time."""

    def end(self) -> None:
        """Show the last evaluation if it was not shown yet, and leave the cursor at the start of a line."""

    def text(self) -> str:
        """Return the last evaluation and the time left, in one line."""
        left = seconds_left(self.rows, self.stop)
        return line(self.rows[-1], "" if left is None else f"about {duration(left)} left")


class Bar(Progress):
    """A bar of tqdm, filled by the decades of the certificate that are done."""

    def __init__(self, stop: Stopping, bar: Any, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stop)
        self._bar, self._now, self._next = bar, now, -math.inf

    def show(self, row: HistoryRow) -> None:
        """Redraw the bar."""
        self.rows.append(row)
        if self._now() >= self._next:
            self._draw(self.text())
            self._next = self._now() + BETWEEN

    def _draw(self, text: str) -> None:
        self._bar.n = share_done(self.rows[-1].certificate, self.stop.tol)
        self._bar.set_description_str(text)

    def end(self) -> None:
        """Draw the last evaluation, and go to the next line."""
        if self.rows:
            self._draw(line(self.rows[-1]))
        self._bar.close()


class Lines(Progress):
    """Plain lines, at first each second, then less and less often; the last evaluation always."""

    def __init__(self, stop: Stopping, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stop)
        self._say, self._now, self._start = say, now, now()
        self._next, self._shown = self._start, False

    def show(self, row: HistoryRow) -> None:
        """Say a line if it is time for one; each evaluation where the log level is debug."""
        self.rows.append(row)
        self._shown = self._now() >= self._next or logger.isEnabledFor(logging.DEBUG)
        if self._shown:
            self._say(self._bar() + self.text())
            self._next = self._now() + min(LONGEST, max(FIRST, SHARE * (self._now() - self._start)))

    def end(self) -> None:
        """Say the last evaluation, if it was not said."""
        if self.rows and not self._shown:
            self._say(self._bar() + line(self.rows[-1]))

    def _bar(self) -> str:
        done = int(WIDTH * share_done(self.rows[-1].certificate, self.stop.tol))
        return "[" + "#" * done + "." * (WIDTH - done) + "] "


def progress(rank: int, quiet: bool, stop: Stopping, out: TextIO) -> Progress:
    """Return what fits the output; nothing on ranks above 0, for quiet jobs, and if information is not logged."""
    if rank != 0 or quiet or not logger.isEnabledFor(logging.INFO):
        return Progress(stop)
    bar = None
    if out.isatty() and _seen_by_a_terminal(os.environ) and not logger.isEnabledFor(logging.DEBUG):
        bar = _tqdm(out)
    return Lines(stop, logger.info) if bar is None else Bar(stop, bar)


def _tqdm(out: TextIO) -> Any:
    """Return a bar of tqdm; None if it is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    size, form = shutil.get_terminal_size(), f"[{{bar:{WIDTH}}}] {{desc}}"  # of a terminal that says 0 by 0, 80 by 24
    return tqdm(total=1.0, file=out, bar_format=form, ascii=".#", ncols=size.columns - 1, nrows=size.lines)


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


def line(row: HistoryRow, left: str = "") -> str:
    """Return one row in about 80 columns, with the time left before what a narrow terminal cuts off."""
    return (
        f"{row.certificate:8.1e} {left + ' ' if left else ''}objective {row.objective:<12.8g}"
        f" epoch {row.epoch:<6.{1 if row.epoch < 1000 else 0}f} round {row.round:<7d} {duration(row.seconds):>7}"
    )


def share_done(certificate: float, tolerance: float) -> float:
    """Return how far log(certificate) has gone from 0 to log(tolerance), from 0 to 1."""
    if not (certificate > 0.0 and 0.0 < tolerance < 1.0):
        return 1.0 if certificate == 0.0 else 0.0
    return min(1.0, max(0.0, math.log(certificate) / math.log(tolerance)))
