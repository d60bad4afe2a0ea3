"""The plan of a run, the state that it has reached, and the time that it has taken on all ranks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import Clock, Event, HistoryRow
from mpiopt.data.shard import Shard
from mpiopt.objective.duality_gap import Certificate
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.resilience.checkpoint.base import CheckpointStore, Meta
from mpiopt.resilience.signals import ExternalStop, StopSignal


class Guard(Protocol):
    """A watch over the state between two rounds; `mpiopt.training.run_recovery.RunRecovery` is one."""

    def protect(self, now: RunState, shard: Shard, channel: Channel) -> None:
        """Copy what the loss of a rank would take; collective, before the first round and after each round."""

    def verify(self, now: RunState, channel: Channel) -> None:
        """Check that the replicated fields are equal on all ranks; collective."""


@dataclass(frozen=True)
class RunPlan:
    """When a run stops, when it saves, and whether it resumes from a checkpoint.

    Parameters
    ----------
    stop : Stopping
        Tolerance of the certificate, budget of epochs, budget of seconds.
    store : CheckpointStore, optional
        Where checkpoints go and come from. Without a store nothing is saved.
    meta : dict
        Values that are saved beside the state. `meta["job"]` must be equal in the job and in its checkpoint.
    save_every : tuple of str and float
        Interval between two checkpoints: ``("seconds", s)`` or ``("rounds", n)``.
    resume : bool
        Whether the run starts from the newest checkpoint of `store`, if it has one.
    guard : Guard, optional
        Copies the state between rounds, for the case that a rank is lost.
    external_stop : ExternalStop, optional
        Asks the run to end besides signals: a time limit or a halt file. One rank is enough.

    Examples
    --------
    >>> from mpiopt.core.config.job import Stopping
    >>> from mpiopt.training.run_state import RunPlan
    >>> RunPlan(Stopping(tol=1e-8, max_epochs=50.0)).resume
    False
    """

    stop: Stopping
    store: CheckpointStore | None = None
    meta: Meta = field(default_factory=dict)
    save_every: tuple[str, float] = ("seconds", 600.0)
    resume: bool = False
    guard: Guard | None = None
    external_stop: ExternalStop | None = None


class Spent(NamedTuple):
    """Time and traffic of all ranks, as a row of the history counts them."""

    seconds: float = 0.0  # of the slowest rank
    compute: float = 0.0  # seconds, mean over the ranks
    communicate: float = 0.0  # seconds, mean over the ranks
    wait: float = 0.0  # seconds, mean over the ranks
    bytes_sent: float = 0.0  # sum over the ranks
    bytes_plain: float = 0.0  # sum over the ranks, had the same exchanges sent float64 numbers

    def plus(self, more: Spent) -> Spent:
        """Return the sum, field by field."""
        return Spent(*(a + b for a, b in zip(self, more, strict=True)))

    @classmethod
    def before(cls, seconds: float, row: HistoryRow) -> Spent:
        """Return what a run had spent that was saved after `seconds`, with `row` as its last evaluation."""
        return cls(
            seconds, row.seconds_compute, row.seconds_communicate, row.seconds_wait, row.bytes_sent, row.bytes_plain
        )


@dataclass
class RunState:
    """The progress of a run: its state, its last evaluation, its history and how it ended.

    Parameters
    ----------
    state : object
        State of the algorithm: all that the next round needs. `state.w` is the model, (outputs, width).
    start : Evaluation
        Objective and gradient at w = 0.
    exact : Evaluation
        The last exact evaluation.
    certificate : Certificate
        Certificate of that evaluation.
    labels : LabelStatistics
        Statistics of labels and rows that the certificate needs.
    round : int
        Number of rounds done.
    epochs : float
        Row gradients computed on all ranks, divided by the number of rows.
    rows : list of HistoryRow
        The history: one row for each exact evaluation.
    spent_before : Spent
        Time and traffic up to the checkpoint from which this run resumed.
    ending : str
        "certified", "budget" or "signal"; "" while the run goes on.
    reason : str
        The ending in words.
    events : list of Event
        Restarts, losses and recoveries.

    Examples
    --------
    >>> from mpiopt.training.run_state import RunState
    >>> RunState(None, None, None, None, None).round
    0
    """

    state: Any
    start: Evaluation
    exact: Evaluation
    certificate: Certificate
    labels: LabelStatistics
    round: int = 0
    epochs: float = 0.0
    rows: list[HistoryRow] = field(default_factory=list)
    spent_before: Spent = field(default_factory=Spent)
    ending: str = ""
    reason: str = ""
    events: list[Event] = field(default_factory=list)

    @property
    def last(self) -> HistoryRow:
        """The last row of the history."""
        return self.rows[-1]


class RunTimer:
    """Time of a run on all ranks. The ranks' clocks differ, but their decisions must not."""

    def __init__(self, channel: Channel, clock: Clock, stop: StopSignal) -> None:
        self.channel, self.clock, self.stop = channel, clock, stop
        self._began = time.perf_counter()
        self._exchanging_before = self._exchanging()
        self._first = stop.elapsed
        self.saved_seconds, self.saved_round = stop.elapsed, 0

    def _exchanging(self) -> float:
        return self.channel.traffic.seconds_wait + self.channel.traffic.seconds_communicate

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds of the block to the phase `name`, without the seconds of its exchanges."""
        began, exchanging = time.perf_counter(), self._exchanging()
        yield
        self.clock.add(name, time.perf_counter() - began - (self._exchanging() - exchanging))

    def spent(self) -> Spent:
        """Return what the ranks have spent since this timer began; collective."""
        traffic, counted = self.channel.traffic, self.clock.seconds
        elapsed = time.perf_counter() - self._began
        exchanging = self._exchanging() - self._exchanging_before
        compute = elapsed - exchanging - counted["evaluate"] - counted["checkpoint"]
        slowest = float(self.channel.comm.max(np.array([elapsed]))[0])
        mine = [compute, traffic.seconds_communicate, traffic.seconds_wait, traffic.bytes_sent, traffic.bytes_plain]
        compute, communicate, wait, sent, plain = self.channel.comm.sum(np.array(mine)).tolist()
        size = self.channel.size
        return Spent(slowest, compute / size, communicate / size, wait / size, sent, plain)

    def agreed_seconds(self, now: RunState) -> float:
        """Return the seconds of the run when the ranks last agreed on a time; equal on all ranks."""
        return now.spent_before.seconds + self.stop.elapsed - self._first

    def save_is_due(self, plan: RunPlan, now: RunState) -> bool:
        """Return whether the interval between two checkpoints has passed; equal on all ranks."""
        kind, interval = plan.save_every
        if kind == "rounds":
            return now.round - self.saved_round >= interval
        return self.stop.elapsed - self.saved_seconds >= interval

    def note_save(self, now: RunState) -> None:
        """Start the interval to the next checkpoint."""
        self.saved_seconds, self.saved_round = self.stop.elapsed, now.round
