"""The exact evaluations of a run: when one is due, what the certifier says of it, and its row of the history."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpiopt.algorithms.base import StepInfo
from mpiopt.core.history import HistoryRow
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Model, Objective
from mpiopt.training.agreement import fingerprint, mend, note_evaluated
from mpiopt.training.run_state import Guard, RunState, RunTimer

Report = Callable[[HistoryRow], None]

EVALUATE_EVERY = 2.0  # epochs between exact evaluations, if the algorithm makes none; each costs a pass over the rows
PATIENCE = 4  # such intervals: until then an algorithm may itself give up steps that were too long


def evaluate_if_due(
    now: RunState,
    step: StepInfo,
    objective: Objective,
    timer: RunTimer,
    report: Report,
    guard: Guard | None = None,
) -> None:
    """Record the round's exact evaluation, or make one if none was made for some epochs; collective."""
    exact = step.exact
    if exact is None and now.epochs - now.last.epoch >= EVALUATE_EVERY:
        with timer.phase("evaluate"):
            exact = evaluate_exact(objective, now.state.w, timer.channel)
        if not is_finite(exact) and now.epochs - now.last.epoch < PATIENCE * EVALUATE_EVERY:
            return
    if exact is None:
        return
    refuse_infinite(exact, now.round)
    now.exact = exact
    if step.slopes is not None:
        with timer.phase("evaluate"):
            now.certifier.learn(now.state.w, exact, step.slopes, timer.channel)
    judge(now, now.state.w, timer)
    record(now, step.step_size, timer, report, guard)
    note_evaluated(now)


def is_finite(exact: Evaluation) -> bool:
    """Return whether objective and gradient are finite."""
    return bool(np.isfinite(exact.value) and np.isfinite(exact.gradient).all())


def refuse_infinite(exact: Evaluation, round_number: int) -> None:
    """Raise ValueError if objective or gradient are not finite; on all ranks, since they are sums over the ranks."""
    if not is_finite(exact):
        what = f"the objective became {exact.value}" if not np.isfinite(exact.value) else "the gradient is not finite"
        if round_number == 0:
            raise ValueError(f"{what} at the start: values, labels or weights are too large; try --scale standard")
        raise ValueError(
            f"{what} in round {round_number}: the steps are too long for these data; "
            "try --scale standard, or omit --step-size"
        )


def judge(now: RunState, w: Model, timer: RunTimer) -> None:
    """Let the certifier judge the last evaluation, which is at `w`; collective."""
    with timer.phase("evaluate"):
        now.judgement = now.certifier.judge(w, now.exact, now.epochs, timer.channel)
    now.exact, now.certificate = now.judgement.exact, now.judgement.certificate
    now.epochs += now.judgement.epochs


def record(now: RunState, step_size: float, timer: RunTimer, report: Report, guard: Guard | None = None) -> None:
    """Add a row to the history and report it, once all ranks have the same evaluation; collective."""
    spent = now.spent_before.plus(timer.spent(fingerprint(now)))
    if timer.ranks_differ:
        mend(guard, now, timer)
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
    timer.sample(now)
    report(row)
