"""The plan of a run, the state that it has reached, and the time that it has taken on all ranks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import Clock, Event, HistoryRow, PhaseSample
from mpiopt.data.shard import Shard
from mpiopt.kernels.kernel_cache import compile_seconds
from mpiopt.objective.certificate import Certifier
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.judgement import Certificate, Judgement, list_columns
from mpiopt.resilience.checkpoint.base import CheckpointStore, Meta
from mpiopt.resilience.round_limit import RoundLimit
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
    limit : RoundLimit, optional
        Ends the process if a round takes far too long.
    verify : str
        Whether a certified model is evaluated once more: "auto", "always" or "never".
    row_space : bool
        Whether the run may start at the optimum in the space of the rows, which leaves the algorithm nothing to do.

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
    limit: RoundLimit | None = None
    verify: str = "auto"
    row_space: bool = True

    def begin(self, what: str) -> None:
        """Tell the watch over the rounds, if there is one, what comes next."""
        if self.limit is not None:
            self.limit.begin(what)


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
    certifier : Certifier
        Judges the models; it has the objective with its origin, and the evaluation there.
    exact : Evaluation
        The last exact evaluation.
    certificate : Certificate
        Certificate of that evaluation.
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
    judgement : Judgement, optional
        What the certifier said of the last evaluation; None before the first one after a resume.
    evaluated : ndarray, shape (outputs, width), optional
        The model of the last evaluation of a round; None before the first one.
    algorithm : Algorithm, optional
        The one in use.
    evaluated_crc : int
        CRC-32 of `evaluated`.
    rows_sum : int
        The sum of this rank's rows, labels and weights, as integers, at the start.
    verified : str
        What was checked at the certificate; "" without one.
    run_id : str
        Name of the run, made at its first start and kept over requeues; "" where none is needed.

    Examples
    --------
    >>> from mpiopt.training.run_state import RunState
    >>> RunState(None, None, None, None).round
    0
    """

    state: Any
    certifier: Certifier
    exact: Evaluation
    certificate: Certificate
    round: int = 0
    epochs: float = 0.0
    rows: list[HistoryRow] = field(default_factory=list)
    spent_before: Spent = field(default_factory=Spent)
    ending: str = ""
    reason: str = ""
    events: list[Event] = field(default_factory=list)
    judgement: Judgement | None = None
    evaluated: NDArray[np.float64] | None = None
    algorithm: Any = None
    evaluated_crc: int = 0
    rows_sum: int = 0
    verified: str = ""
    run_id: str = ""

    @property
    def last(self) -> HistoryRow:
        """The last row of the history."""
        return self.rows[-1]

    def reason_in_names(self, names: Sequence[str] | None) -> str:
        """Return the reason of the ending, with the names of columns in place of their numbers."""
        columns = self.judgement.columns if self.judgement is not None else ()
        if not columns or names is None:
            return self.reason
        return self.reason.replace(list_columns(columns), list_columns(columns, names))


def learned(now: RunState) -> str:
    """Return what the certifier has learned, as text for a checkpoint or a copy in memory."""
    return " ".join(map(repr, now.certifier.progress.tolist()))


# Pauses between a checkpoint that could not be written and the next try, the first and the longest; each is twice the
# one before. A full disk is often emptied within minutes, and a try costs the time of a checkpoint.
FIRST_PAUSE = {"seconds": 10.0, "rounds": 1.0}
LONGEST_PAUSE = {"seconds": 600.0, "rounds": 64.0}


class RunTimer:
    """Time of a run on all ranks. The ranks' clocks differ, but their decisions must not."""

    def __init__(self, channel: Channel, clock: Clock, stop: StopSignal) -> None:
        self.channel, self.clock, self.stop = channel, clock, stop
        self.ranks_differ = False
        stop.restart_clock()  # the budget of seconds counts what the history counts
        self._began, self._compiled_before = time.perf_counter(), compile_seconds()
        self._exchanging_before = self._exchanging()
        clock.samples.clear()
        self._phases_before = self._phases()
        self.saved_seconds, self.saved_round, self.failed_saves = 0.0, 0, 0

    def _exchanging(self) -> float:
        return self.channel.traffic.seconds_wait + self.channel.traffic.seconds_communicate

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds of the block to the phase `name`, without those of its exchanges and of compiling."""
        began, without = time.perf_counter(), self._exchanging() + compile_seconds()
        yield
        self.clock.add(name, time.perf_counter() - began - (self._exchanging() + compile_seconds() - without))

    def spent(self, mark: float = 0.0) -> Spent:
        """Return what the ranks have spent since this timer began; collective.

        `ranks_differ` then says whether `mark` was not the same on all ranks.
        """
        traffic, counted = self.channel.traffic, self.clock.seconds
        elapsed = time.perf_counter() - self._began
        exchanging = self._exchanging() - self._exchanging_before
        compute = elapsed - exchanging - counted["evaluate"] - counted["checkpoint"] - self.compiled()
        slowest, largest, smallest = self.channel.comm.max(np.array([elapsed, mark, -mark])).tolist()
        self.ranks_differ = largest != -smallest
        mine = [compute, traffic.seconds_communicate, traffic.seconds_wait, traffic.bytes_sent, traffic.bytes_plain]
        compute, communicate, wait, sent, plain = self.channel.comm.sum(np.array(mine)).tolist()
        size = self.channel.size
        return Spent(slowest, compute / size, communicate / size, wait / size, sent, plain)

    def _phases(self) -> list[float]:
        """Return the seconds of this rank so far: compressing, communicating, waiting, evaluating, saving."""
        traffic, counted = self.channel.traffic, self.clock.seconds
        exchanging = (traffic.seconds_compress, traffic.seconds_communicate, traffic.seconds_wait)
        return [*exchanging, counted["evaluate"], counted["checkpoint"]]

    def sample(self, now: RunState) -> None:
        """Note what this rank's clock says now; local."""
        elapsed, compiled = time.perf_counter() - self._began, self.compiled()
        parts = [after - before for after, before in zip(self._phases(), self._phases_before, strict=True)]
        values = [now.spent_before.seconds + elapsed, elapsed - sum(parts) - compiled, *parts, compiled]
        self.clock.samples.append(PhaseSample(now.round, *values))

    def compiled(self) -> float:
        """Return the seconds that this rank has compiled kernels since this timer began."""
        return compile_seconds() - self._compiled_before

    def agreed_seconds(self, now: RunState) -> float:
        """Return the seconds of the run when the ranks last agreed on a time; equal on all ranks."""
        return now.spent_before.seconds + self.stop.elapsed

    def save_is_due(self, plan: RunPlan, now: RunState) -> bool:
        """Return whether the interval between two checkpoints, or the pause after a failure, has passed.

        All ranks return the same.
        """
        kind, _ = plan.save_every
        passed = now.round - self.saved_round if kind == "rounds" else self.stop.elapsed - self.saved_seconds
        return passed >= self.pause(plan)

    def pause(self, plan: RunPlan) -> float:
        """Return the seconds or rounds from the last save, or the last failure to save, to the next one."""
        kind, interval = plan.save_every
        if not self.failed_saves:
            return interval
        growing = FIRST_PAUSE[kind] * 2.0 ** min(self.failed_saves - 1, 60)
        return min(growing, interval if self.failed_saves == 1 else max(interval, LONGEST_PAUSE[kind]))

    def note_save(self, now: RunState, failed: bool = False) -> None:
        """Start the interval to the next checkpoint, or the pause to the next try."""
        self.saved_seconds, self.saved_round = self.stop.elapsed, now.round
        self.failed_saves = self.failed_saves + 1 if failed else 0


def count_loop(clock: Clock, channel: Channel, seconds: float, compiled: float) -> None:
    """Count the seconds of the loop that no phase has counted yet: to compiling, exchanges and computing."""
    traffic = channel.traffic
    clock.add("communicate", traffic.seconds_communicate)
    clock.add("compress", traffic.seconds_compress)
    clock.add("wait", traffic.seconds_wait)
    others = sum(clock.seconds[name] for name in ("compress", "communicate", "wait", "evaluate", "checkpoint"))
    clock.add("compile", compiled)
    clock.add("compute", max(0.0, seconds - others - compiled))


def mean_times(clock: Clock, seconds: float, ranks: Comm) -> dict[str, float]:
    """Return the seconds of the phases, the mean over the ranks, and the rest of `seconds` as "other"; collective."""
    mine = {**clock.seconds, "other": max(0.0, seconds - sum(clock.seconds.values()))}
    return dict(zip(mine, (ranks.sum(np.array(list(mine.values()))) / ranks.size).tolist(), strict=True))
