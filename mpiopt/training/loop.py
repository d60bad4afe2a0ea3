"""The loop of a run: do a round, evaluate, decide, save."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.portfolio import EVENT, Portfolio
from mpiopt.compress.channel import Channel
from mpiopt.core import history
from mpiopt.core.history import ALL, Clock, Event, HistoryRow
from mpiopt.data.coordinates import far_columns
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.judgement import GAP, list_columns
from mpiopt.objective.objective import Objective
from mpiopt.resilience.checkpoint.base import CheckpointStore, Meta
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.agreement import begin_anew, confirm
from mpiopt.training.beginning import begin
from mpiopt.training.evaluating import Report, evaluate_if_due, record, refuse_infinite
from mpiopt.training.run_state import RunPlan, RunState, RunTimer, learned

logger = logging.getLogger(__name__)

MOST_NAMED = 3  # columns in the line of an ending
STALLED = 12  # evaluations without a better certificate; a run that still improves shows it within a few of them
NO_PROGRESS = f"no progress in {STALLED} evaluations"
ROUNDING = 4e-16  # relative change of the objective that is rounding alone: about two units in the last place


def run(
    plan: RunPlan,
    objective: Objective,
    algorithm: Algorithm[Any] | Portfolio,
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
    algorithm : Algorithm or Portfolio
        The algorithm, with its options; or several, of which another one goes on where one is behind.
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
    portfolio = algorithm if isinstance(algorithm, Portfolio) else Portfolio((algorithm,))
    channel = portfolio.first.run_channel(channel)
    timer = RunTimer(channel, clock, stop)
    now = begin(plan, objective, portfolio, timer)
    now.run_id = now.run_id or str(plan.meta.get("run_id", ""))
    objective = now.certifier.objective
    if not now.rows:
        record(now, 0.0, timer, report, plan.guard)
    decide(plan, now, timer)
    if len(portfolio.algorithms) > 1 and not any(event.kind == EVENT for event in now.events) and not now.ending:
        now.events.append(portfolio.event(now.algorithm.name, now.last))
    started = now.judgement is None or not now.judgement.ending
    if now.ending and started and not np.array_equal(now.state.w, objective.origin()):  # the algorithm's own start
        now.exact = evaluate_exact(objective, now.state.w, channel)
        now.certificate = now.certifier.glance(now.state.w, now.exact)
    protect(plan, now, objective, timer)
    while not now.ending:
        plan.begin(f"round {now.round}")
        step = now.algorithm.step(now.round, now.state, objective, channel)
        now.round += 1
        now.epochs += step.epochs
        evaluate_if_due(now, step, objective, timer, report, plan.guard)
        decide(plan, now, timer)
        if now.reason == NO_PROGRESS and begin_anew(now, channel):
            now.ending, now.reason = "", ""
        saved = plan.store is not None and now.ending in ("signal", "budget")  # a resumed run goes on with the change
        if step.exact is not None and (saved or not now.ending):
            go_on_with_next(now, portfolio, objective, channel)
        protect(plan, now, objective, timer)
        if plan.store is not None and (timer.save_is_due(plan, now) or now.ending in ("signal", "budget")):
            plan.begin(f"the checkpoint of round {now.round}")
            saved = save(plan.store, plan, now, objective, timer)
            if saved and not now.ending:
                decide(plan, now, timer)  # `mpiopt halt --after-checkpoint` ends the run here
    timer.sample(now)  # with what came after the last evaluation, such as a checkpoint
    keep_finite(now)
    if now.ending == "budget":
        keep_better(now, objective, channel)
        name_far_columns(now, objective, channel)
    if now.ending == "certified":
        confirm(now, timer, plan.verify)
    return now


def go_on_with_next(now: RunState, portfolio: Portfolio, objective: Objective, channel: Channel) -> None:
    """Let another algorithm go on from the model just evaluated if the one in use is behind; collective."""
    following = portfolio.next(now.rows, now.events)
    if following is None:
        return
    now.state = following.go_on(np.array(now.state.w), now.exact, objective, channel)
    now.algorithm = following
    now.events.append(portfolio.event(following.name, now.last))


def name_far_columns(now: RunState, objective: Objective, channel: Channel) -> None:
    """Say which columns make a problem without an intercept hard, because nothing centres them; collective."""
    shard = objective.shard
    if shard.intercept or now.judgement is None:
        return
    columns = far_columns(shard.rows, shard.weight, shard.features, channel.comm)
    if columns:
        shown = columns[:MOST_NAMED]
        now.judgement = now.judgement._replace(columns=shown)
        more = f" and {len(columns) - len(shown)} more" if len(columns) > len(shown) else ""
        now.reason += (
            f"; {list_columns(shown)}{more}: far from 0 beside their spread, which rounding hides without an "
            "intercept; use --intercept, or subtract a constant"
        )


def keep_finite(now: RunState) -> None:
    """Go back to the last model that was evaluated if the steps since then have led to no finite numbers."""
    if np.isfinite(now.state.w).all():
        return
    if now.evaluated is None:
        refuse_infinite(Evaluation(np.nan, now.state.w), now.round)
    now.state.w[...] = now.evaluated


def keep_better(now: RunState, objective: Objective, channel: Channel) -> None:
    """Go back to the last model that was evaluated if the steps since then have made F larger; collective."""
    moved = now.evaluated is not None and not np.array_equal(now.state.w, now.evaluated)
    if not channel.comm.max(np.array([moved], np.int64))[0]:  # a bit may have changed on one rank
        return
    if not evaluate_exact(objective, now.state.w, channel).value <= now.exact.value:
        now.state.w[...] = now.evaluated


def decide(plan: RunPlan, now: RunState, timer: RunTimer) -> None:
    """End the run at the certificate, at a signal, at the end of a budget, or where rounding stops all progress."""
    limits, level = plan.stop, timer.stop.agreed(timer.channel, plan.external_stop)
    early = "" if now.round else " before the first round"  # reading, compiling, too many ranks for the cores
    judged, current = now.judgement, now.last.round == now.round
    if current and judged is not None and judged.ending == "certified":
        now.ending, now.reason = judged.ending, judged.reason
    elif current and judged is None and now.certificate.kind == GAP and now.certificate.value <= limits.tol:
        now.ending, now.reason = "certified", f"{GAP} {now.certificate.value:.1e} <= {limits.tol:g}"
    elif current and judged is not None and judged.ending == "no optimum":
        now.ending, now.reason = judged.ending, judged.reason
    elif level:
        now.ending, now.reason = "signal", f"{timer.stop.reason}{early}"
    elif now.epochs >= limits.max_epochs:
        now.ending, now.reason = "budget", f"max_epochs {limits.max_epochs:g} spent"
    elif timer.agreed_seconds(now) >= limits.max_seconds:
        now.ending, now.reason = "budget", f"max_seconds {limits.max_seconds:g} spent{early}"
    elif current and stalled(now.rows):
        now.ending, now.reason = "budget", NO_PROGRESS


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


def save(store: CheckpointStore, plan: RunPlan, now: RunState, objective: Objective, timer: RunTimer) -> bool:
    """Save the state and the history so far; return whether that was possible; collective.

    A checkpoint that cannot be written is told, and tried again after a pause. It ends the run only if the run has to
    end now and continue from it, or if another start of the job has taken over the folder.
    """
    if plan.guard is not None:
        plan.guard.verify(now, timer.channel)
    meta: Meta = {
        **plan.meta,
        "epochs": now.epochs,
        "seconds": max(now.last.seconds, timer.agreed_seconds(now)),  # not a rank's own clock: all save the same
        "history": history.rows_to_text(now.rows),
        "certifier": learned(now),
        "run_id": now.run_id,
        "events": history.events_to_text(now.events),
    }
    began = time.perf_counter()
    try:
        with timer.phase("checkpoint"):
            store.save(now.round, now.state, objective.shard, meta)
    except OSError as fault:  # on all ranks
        if now.ending == "signal":
            raise
        store.check()
        timer.note_save(now, failed=True)
        tell_unsaved(plan, now, timer, fault)
        return False
    timer.stop.saved(time.perf_counter() - began, plan.external_stop)
    timer.note_save(now)
    return True


def tell_unsaved(plan: RunPlan, now: RunState, timer: RunTimer, fault: OSError) -> None:
    """Note in the events and say on rank 0 that a checkpoint could not be written, and when the next try is."""
    now.events.append(Event(timer.agreed_seconds(now), now.round, "unsaved", ALL, str(fault)))
    if timer.channel.comm.rank == 0:
        pause, unit = timer.pause(plan), plan.save_every[0]
        unit = unit.removesuffix("s") if pause == 1.0 else unit
        again = "" if now.ending else f"; the next try is in {pause:g} {unit}"
        logger.warning("round %d: no checkpoint: %s; the run goes on%s", now.round, fault, again)
