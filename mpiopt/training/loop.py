"""The loop of a run: do a round, evaluate, decide, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.compress.channel import Channel
from mpiopt.core import history
from mpiopt.core.history import ALL, Clock, Event, HistoryRow
from mpiopt.objective import duality_gap
from mpiopt.objective.duality_gap import certify
from mpiopt.objective.evaluation import evaluate_exact
from mpiopt.objective.objective import Objective
from mpiopt.resilience.checkpoint.base import CheckpointStore, LoadedState, Meta
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.run_state import RunPlan, RunState, RunTimer, Spent

Report = Callable[[HistoryRow], None]

EVALUATE_EVERY = 2.0  # epochs between exact evaluations, if the algorithm makes none; each costs a pass over the rows
STALLED = 12  # evaluations without a better certificate; a run that still improves shows it within a few of them
ROUNDING = 4e-16  # relative change of the objective that is rounding alone: about two units in the last place


def run(
    plan: RunPlan,
    objective: Objective,
    algorithm: Algorithm[Any],
    channel: Channel,
    stop: StopSignal,
    clock: Clock,
    report: Report,
) -> RunState:
    """Run an algorithm from its start, or from a checkpoint, until the plan ends it; collective.

    Parameters
    ----------
    plan : RunPlan
        When to stop and when to save.
    objective : Objective
        The objective on this rank's rows.
    algorithm : Algorithm
        The algorithm, with its options.
    channel : Channel
        The exchanges between the ranks.
    stop : StopSignal
        Signals of this process.
    clock : Clock
        Takes the seconds of each phase.
    report : callable
        Called with each new row of the history.

    Returns
    -------
    RunState
        The state at the end, with `ending` and `reason`.

    Raises
    ------
    ValueError
        If the objective stops being a finite number, or a checkpoint is of another job.
    """
    channel = algorithm.run_channel(channel)
    timer = RunTimer(channel, clock, stop)
    now = begin(plan, objective, algorithm, timer)
    if not now.rows:
        record(now, 0.0, timer, report)
    decide(plan, now, timer)
    if now.ending and now.state.w.any():  # the algorithm did not start at 0, where the first row was evaluated
        now.exact = evaluate_exact(objective, now.state.w, channel)
        now.certificate = certify(objective, now.state.w, now.exact, now.start, now.labels)
    protect(plan, now, objective, timer)
    while not now.ending:
        step = algorithm.step(now.round, now.state, objective, channel)
        now.round += 1
        now.epochs += step.epochs
        evaluate_if_due(now, step, objective, timer, report)
        decide(plan, now, timer)
        protect(plan, now, objective, timer)
        if plan.store is not None and (timer.save_is_due(plan, now) or now.ending in ("signal", "budget")):
            save(plan.store, plan, now, objective, timer)
            if not now.ending:
                decide(plan, now, timer)  # `mpiopt halt --after-checkpoint` ends the run here
    return now


def begin(plan: RunPlan, objective: Objective, algorithm: Algorithm[Any], timer: RunTimer) -> RunState:
    """Start at w = 0, or where the newest checkpoint was made; collective."""
    channel, zero = timer.channel, objective.zeros()
    with timer.phase("evaluate"):
        start = evaluate_exact(objective, zero, channel)
    with timer.phase("evaluate"):
        labels = duality_gap.label_statistics(objective, channel)
    if plan.resume and plan.store is not None:
        state = algorithm.blank(objective, channel.size)
        loaded = plan.store.load(state, objective.shard, str(plan.meta["job"]))
        if loaded is not None:
            algorithm.rebuild(state, objective, channel)
            exact = evaluate_exact(objective, state.w, channel)
            certificate = certify(objective, state.w, exact, start, labels)
            return resumed(RunState(state, start, exact, certificate, labels), loaded, timer)
    certificate = certify(objective, zero, start, start, labels)
    return RunState(algorithm.init(objective, channel), start, start, certificate, labels)


def resumed(now: RunState, loaded: LoadedState, timer: RunTimer) -> RunState:
    """Return the state with round, history, events and costs as they were saved."""
    now.round, now.epochs = loaded.k, float(loaded.meta["epochs"])
    now.rows = history.rows_from_text(str(loaded.meta["history"]))
    now.spent_before = Spent.before(float(loaded.meta["seconds"]), now.last)
    now.events = history.events_from_text(str(loaded.meta.get("events", "[]")))
    text = f"went on from round {loaded.k}, {timer.channel.size} ranks"
    now.events.append(Event(now.spent_before.seconds, loaded.k, "resumed", ALL, text))
    timer.saved_round = loaded.k
    return now


def evaluate_if_due(now: RunState, step: StepInfo, objective: Objective, timer: RunTimer, report: Report) -> None:
    """Record the round's exact evaluation, or make one if none was made for some epochs; collective."""
    exact = step.exact
    if exact is None and now.epochs - now.last.epoch >= EVALUATE_EVERY:
        with timer.phase("evaluate"):
            exact = evaluate_exact(objective, now.state.w, timer.channel)
    if exact is None:
        return
    if not np.isfinite(exact.value):
        raise ValueError(
            f"the objective became {exact.value} in round {now.round}: the steps are too long for these data; "
            "try --scale standard, or omit --step-size"
        )
    now.exact, now.certificate = exact, certify(objective, now.state.w, exact, now.start, now.labels)
    record(now, step.step_size, timer, report)


def record(now: RunState, step_size: float, timer: RunTimer, report: Report) -> None:
    """Add a row to the history and report it; collective."""
    spent = now.spent_before.plus(timer.spent())
    row = HistoryRow(
        round=now.round,
        epoch=now.epochs,
        seconds=spent.seconds,
        seconds_compute=spent.compute,
        seconds_communicate=spent.communicate,
        seconds_wait=spent.wait,
        bytes_sent=round(spent.bytes_sent),
        bytes_plain=round(spent.bytes_plain),
        objective=now.exact.value,
        certificate=now.certificate.value,
        step_size=step_size,
    )
    now.rows.append(row)
    report(row)


def decide(plan: RunPlan, now: RunState, timer: RunTimer) -> None:
    """End the run at the certificate, at a signal, at the end of a budget, or where rounding stops all progress."""
    limits, level = plan.stop, timer.stop.agreed(timer.channel, plan.external_stop)
    if now.certificate.value <= limits.tol and now.last.round == now.round:
        now.ending, now.reason = "certified", f"{now.certificate.kind} {now.certificate.value:.1e} <= {limits.tol:g}"
    elif level:
        now.ending, now.reason = "signal", timer.stop.reason
    elif now.epochs >= limits.max_epochs:
        now.ending, now.reason = "budget", f"max_epochs {limits.max_epochs:g} spent"
    elif timer.agreed_seconds(now) >= limits.max_seconds:
        early = "" if now.round else " before the first round"  # reading, compiling, too many ranks for the cores
        now.ending, now.reason = "budget", f"max_seconds {limits.max_seconds:g} spent{early}"
    elif stalled(now.rows):
        now.ending, now.reason = "budget", "no further progress in floating-point numbers"


def stalled(rows: list[HistoryRow]) -> bool:
    """Return whether the objective is constant up to rounding and the certificate has stopped falling."""
    late, early = rows[-STALLED:], rows[:-STALLED]
    values = [row.objective for row in late]
    if not early or max(values) - min(values) > ROUNDING * abs(values[-1]):
        return False
    return min(row.certificate for row in late) >= min(row.certificate for row in early)


def protect(plan: RunPlan, now: RunState, objective: Objective, timer: RunTimer) -> None:
    """Let the guard copy what the loss of a rank would take; collective."""
    if plan.guard is not None:
        with timer.phase("checkpoint"):
            plan.guard.protect(now, objective.shard, timer.channel)


def save(store: CheckpointStore, plan: RunPlan, now: RunState, objective: Objective, timer: RunTimer) -> None:
    """Save the state and the history so far; collective."""
    if plan.guard is not None:
        plan.guard.verify(now, timer.channel)
    meta: Meta = {
        **plan.meta,
        "epochs": now.epochs,
        "seconds": max(now.last.seconds, timer.agreed_seconds(now)),  # not a rank's own clock: all save the same
        "history": history.rows_to_text(now.rows),
        "events": history.events_to_text(now.events),
    }
    began = time.perf_counter()
    with timer.phase("checkpoint"):
        store.save(now.round, now.state, objective.shard, meta)
    timer.stop.saved(time.perf_counter() - began, plan.external_stop)
    timer.note_save(now)
