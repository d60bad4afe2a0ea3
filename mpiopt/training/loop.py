"""The loop of a run: step, look, decide, save.

Time in a run: where it went, and when a checkpoint is due, the same on all ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import (
    ALL,
    Clock,
    Event,
    HistoryRow,
    events_from_text,
    events_to_text,
    rows_from_text,
    rows_to_text,
)
from mpiopt.data.shard import Shard
from mpiopt.objective import duality_gap
from mpiopt.objective.duality_gap import Certificate, certify
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.objective import Objective
from mpiopt.resilience.signals import StopSignal

Meta = dict[str, str | int | float]
EVALUATE_EVERY = 2.0  # epochs, where the algorithm does not evaluate by itself
PATIENCE = 12  # evaluations without a better certificate, at one and the same objective


class LoadedState(Protocol):
    """What a load gives besides the state."""

    @property
    def k(self) -> int:
        """The next round."""

    @property
    def meta(self) -> Meta:
        """What was saved beside the state."""


class Store(Protocol):
    """Where checkpoints go and come from; `mpiopt.resilience.checkpoint.store.Checkpoints` is one."""

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Save the state before round k; collective."""

    def load(self, blank_state: object, shard: Shard, job: str) -> LoadedState | None:
        """Fill the state from the newest whole checkpoint; collective."""


class Guard(Protocol):
    """What watches over a run's state between two rounds; `mpiopt.training.run_recovery.RunRecovery` is one."""

    def protect(self, now: RunState, shard: Shard, channel: Channel) -> None:
        """Keep what the loss of a rank would take; collective, before the first round and after each."""

    def verify(self, now: RunState, channel: Channel) -> None:
        """See that what must be equal on all ranks is; collective."""


@dataclass(frozen=True)
class RunPlan:
    """When a run stops, when it saves, and whether it goes on from what was saved."""

    stop: Stopping
    store: Store | None = None
    meta: Meta = field(default_factory=dict)  # kept with checkpoints; "job" must be equal in job and checkpoint
    save_every: tuple[str, float] = ("seconds", 600.0)  # or ("rounds", n)
    resume: bool = False
    guard: Guard | None = None


@dataclass
class RunState:
    """Where a run is: what a reader wants to know. What the next round needs is in `state`."""

    state: Any
    start: Evaluation  # at w = 0
    exact: Evaluation
    certificate: Certificate
    labels: LabelStatistics  # what a gap needs to know of labels and rows
    round: int = 0
    epochs: float = 0.0
    rows: list[HistoryRow] = field(default_factory=list)
    before: tuple[float, ...] = (0.0,) * 6  # seconds … bytes_plain of earlier lives
    ending: str = ""  # "certified", "budget" or "signal"
    reason: str = ""
    events: list[Event] = field(default_factory=list)  # restarts, losses, recoveries; kept with checkpoints


def run(
    plan: RunPlan,
    objective: Objective,
    algorithm: Algorithm[Any],
    channel: Channel,
    stop: StopSignal,
    clock: Clock,
    report: Callable[[HistoryRow], None],
) -> RunState:
    """Run an algorithm from its start, or from a checkpoint, until the plan ends it; collective.

    Raises
    ------
    ValueError
        If the objective stops being a finite number, or a checkpoint is of another job.
    """
    channel = algorithm.run_channel(channel)
    watch = Watch(channel, clock, stop)
    now = begin(plan, objective, algorithm, watch)
    if not now.rows:
        note(now, 0.0, watch, report)
    decide(plan, now, watch)
    if now.ending and now.state.w.any():  # the algorithm did not start at 0, where the record does
        now.exact = evaluate_exact(objective, now.state.w, channel)
        now.certificate = certify(objective, now.state.w, now.exact, now.start, now.labels)
    protect(plan, now, objective, watch)
    while not now.ending:
        progress = algorithm.step(now.round, now.state, objective, channel)
        now.round += 1
        now.epochs += progress.epochs
        look(now, progress, objective, watch, report)
        decide(plan, now, watch)
        protect(plan, now, objective, watch)
        if plan.store is not None and (watch.save_is_due(plan, now) or now.ending in ("signal", "budget")):
            save(plan.store, plan, now, objective, watch)
            if not now.ending:
                decide(plan, now, watch)  # a halt may be asked for after a checkpoint
    return now


def begin(plan: RunPlan, objective: Objective, algorithm: Algorithm[Any], watch: Watch) -> RunState:
    """Start at w = 0, or where the newest checkpoint was made."""
    channel, zero = watch.channel, objective.zeros()
    start = watch.measure("evaluate", lambda: evaluate_exact(objective, zero, channel))
    labels = watch.measure("evaluate", lambda: duality_gap.label_statistics(objective, channel))
    if plan.resume and plan.store is not None:
        state = algorithm.blank(objective, channel.size)
        loaded = plan.store.load(state, objective.shard, str(plan.meta["job"]))
        if loaded is not None:
            algorithm.rebuild(state, objective, channel)
            exact = evaluate_exact(objective, state.w, channel)
            rows = rows_from_text(str(loaded.meta["history"]))
            certificate = certify(objective, state.w, exact, start, labels)
            spent = (float(loaded.meta["seconds"]), *(float(x) for x in rows[-1][3:8]))
            watch.saved_round = loaded.k
            events = events_from_text(str(loaded.meta.get("events", "[]")))
            events.append(
                Event(spent[0], loaded.k, "resumed", ALL, f"went on from round {loaded.k}, {channel.size} ranks")
            )
            epochs = float(loaded.meta["epochs"])
            return RunState(state, start, exact, certificate, labels, loaded.k, epochs, rows, spent, events=events)
    return RunState(
        algorithm.init(objective, channel), start, start, certify(objective, zero, start, start, labels), labels
    )


def look(
    now: RunState, progress: StepInfo, objective: Objective, watch: Watch, report: Callable[[HistoryRow], None]
) -> None:
    """Take or make an exact evaluation where one is due, and record it."""
    exact = progress.exact
    if exact is None and now.epochs - now.rows[-1].epoch >= EVALUATE_EVERY:
        exact = watch.measure("evaluate", lambda: evaluate_exact(objective, now.state.w, watch.channel))
    if exact is None:
        return
    if not np.isfinite(exact.value):
        raise ValueError(
            f"the objective became {exact.value} in round {now.round}: the steps are too long for these data; "
            "try --scale standard, or leave --step-size to the program"
        )
    now.exact, now.certificate = exact, certify(objective, now.state.w, exact, now.start, now.labels)
    note(now, progress.step_size, watch, report)


def note(now: RunState, step_size: float, watch: Watch, report: Callable[[HistoryRow], None]) -> None:
    """Add a row to the history and report it."""
    *spent, sent, plain = np.add(now.before, watch.costs()).tolist()
    value, certificate = now.exact.value, now.certificate.value
    seconds, compute, communicate, wait = spent
    row = HistoryRow(
        now.round, now.epochs, seconds, compute, communicate, wait, round(sent), round(plain), value, certificate,
        step_size,
    )  # fmt: skip
    now.rows.append(row)
    report(row)


def decide(plan: RunPlan, now: RunState, watch: Watch) -> None:
    """End the run if it is certified, if rounding is reached, if a budget is spent, or if a signal came."""
    limits, level = plan.stop, watch.stop.agreed(watch.channel)
    if now.certificate.value <= limits.tol and now.rows[-1].round == now.round:
        now.ending, now.reason = "certified", f"{now.certificate.kind} {now.certificate.value:.1e} <= {limits.tol:g}"
    elif level:
        now.ending, now.reason = "signal", watch.stop.reason
    elif now.epochs >= limits.max_epochs:
        now.ending, now.reason = "budget", f"max_epochs {limits.max_epochs:g} spent"
    elif now.before[0] + watch.stop.elapsed - watch.first >= limits.max_seconds:
        early = "" if now.round else " before the first round"  # reading, compiling, too many ranks for the cores
        now.ending, now.reason = "budget", f"max_seconds {limits.max_seconds:g} spent{early}"
    elif stalled(now.rows):
        now.ending, now.reason = "budget", "no further progress in floating-point numbers"


def stalled(rows: list[HistoryRow]) -> bool:
    """Say whether the objective stands still to the last bits and the certificate gets no better."""
    late, early = rows[-PATIENCE:], rows[:-PATIENCE]
    values = [row.objective for row in late]
    if not early or max(values) - min(values) > 4e-16 * abs(values[-1]):
        return False
    return min(row.certificate for row in late) >= min(row.certificate for row in early)


def protect(plan: RunPlan, now: RunState, objective: Objective, watch: Watch) -> None:
    """Let the guard keep what the loss of a rank would take."""
    guard = plan.guard
    if guard is not None:
        watch.measure("checkpoint", lambda: guard.protect(now, objective.shard, watch.channel))


def save(store: Store, plan: RunPlan, now: RunState, objective: Objective, watch: Watch) -> None:
    """Save the state and the history so far."""
    if plan.guard is not None:
        plan.guard.verify(now, watch.channel)
    meta: Meta = {
        **plan.meta,
        "epochs": now.epochs,
        # Not this rank's own clock: all must save the same.
        "seconds": max(now.rows[-1].seconds, now.before[0] + watch.stop.elapsed - watch.first),
        "history": rows_to_text(now.rows),
        "events": events_to_text(now.events),
    }
    began = time.perf_counter()
    watch.measure("checkpoint", lambda: store.save(now.round, now.state, objective.shard, meta))
    watch.stop.saved(time.perf_counter() - began)
    watch.saved_seconds, watch.saved_round = watch.stop.elapsed, now.round


class Watch:
    """Time on all ranks: what the ranks decide on must be equal, and their clocks are not."""

    def __init__(self, channel: Channel, clock: Clock, stop: StopSignal) -> None:
        self.channel, self.clock, self.stop = channel, clock, stop
        self.began = time.perf_counter()
        self.busy_before = self._exchanging()
        self.first = stop.elapsed
        self.saved_seconds, self.saved_round = stop.elapsed, 0

    def _exchanging(self) -> float:
        return self.channel.traffic.seconds_wait + self.channel.traffic.seconds_communicate

    def measure(self, phase: str, work: Callable[[], Any]) -> Any:
        """Do `work` and count its seconds, without those of exchanges, to the phase."""
        begin, exchanging = time.perf_counter(), self._exchanging()
        result = work()
        self.clock.add(phase, time.perf_counter() - begin - (self._exchanging() - exchanging))
        return result

    def costs(self) -> tuple[float, ...]:
        """Give seconds (the slowest rank's), computing, communicating, waiting (means), bytes (sums); collective."""
        t, spent = self.channel.traffic, self.clock.seconds
        elapsed = time.perf_counter() - self.began
        compute = elapsed - (self._exchanging() - self.busy_before) - spent["evaluate"] - spent["checkpoint"]
        slowest = float(self.channel.comm.max(np.array([elapsed]))[0])
        mine = np.array([compute, t.seconds_communicate, t.seconds_wait, t.bytes_sent, t.bytes_plain])
        total = self.channel.comm.sum(mine)
        return (slowest, *(float(x) / self.channel.size for x in total[:3]), *(float(x) for x in total[3:]))

    def save_is_due(self, plan: RunPlan, now: RunState) -> bool:
        """Say whether the rounds or the time between two checkpoints have passed; the same on all ranks."""
        kind, number = plan.save_every
        if kind == "rounds":
            return now.round - self.saved_round >= number
        return self.stop.elapsed - self.saved_seconds >= number
