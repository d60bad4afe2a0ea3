"""The record of a run: events, evaluations of the objective, and seconds of each phase."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, get_type_hints

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


PHASES = ("load", "compile", "compute", "compress", "communicate", "wait", "evaluate", "checkpoint")


class PhaseSample(NamedTuple):
    """What a rank's clock said at an evaluation: seconds of the run, and of each phase since this run began."""

    round: int
    seconds: float
    compute: float
    compress: float
    communicate: float
    wait: float
    evaluate: float
    checkpoint: float
    compile: float


SAMPLED = PhaseSample._fields[2:]


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
    "seconds": "wall seconds from the first evaluation on, without reading and compiling",
    "seconds_compute": "mean over ranks",
    "seconds_communicate": "mean over ranks",
    "seconds_wait": "mean over ranks",
    "bytes_sent": "sum over ranks",
    "bytes_plain": "sum over ranks, had the same exchanges sent float64 numbers",
    "objective": "F(w)",
    "certificate": "relative duality gap; without a penalty the Newton decrement or its estimate",
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
    samples: list[PhaseSample] = field(default_factory=list)  # of the loop that runs now, one for each evaluation
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
