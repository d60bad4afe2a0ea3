"""All ranks act on one evaluation, and what is certified is what was evaluated, on rows that have not changed.

A bit of memory may change by itself. In replicated state it makes one rank decide otherwise than the others, which
then wait for it for ever; in rows or labels it moves the optimum that is certified. So after each evaluation a
fingerprint of everything that must be equal on all ranks is compared, in a maximum of two numbers; and at the
certificate the rows are summed again, as integers, and the model is compared with the one that was evaluated.
"""

from __future__ import annotations

import zlib

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.comm.membership import RollBack
from mpiopt.compress.channel import Channel
from mpiopt.core.history import ALL, Event
from mpiopt.objective import rounding
from mpiopt.objective.evaluation import Model, evaluate_exact
from mpiopt.resilience.consistency import content_sum, digest, majority, repair
from mpiopt.training.run_state import Guard, RunState, RunTimer

ENOUGH_EPOCHS = 20.0  # of a run, of which one more evaluation is a twentieth
FEW_NUMBERS = 1 << 23  # rows times numbers of the model: an evaluation takes milliseconds
SAME_VALUE = 1e-7  # relative: rounding mostly moves an evaluation by less, a flipped bit that matters by more
ROUNDINGS = 64.0  # times the estimate of rounding: sums are made in another order


def fingerprint(now: RunState) -> float:
    """Return the CRC-32 of all that the ranks decide by: replicated state, evaluation, certificate, counts."""
    ending = now.judgement.ending if now.judgement is not None else ""
    numbers = [now.certificate.value, now.exact.value, now.exact.error, now.epochs, now.round, digest(now.state)]
    crc = zlib.crc32(np.array(numbers, np.float64).tobytes() + ending.encode())
    for array in (now.exact.gradient, now.certifier.progress):
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
    return float(crc)


def differs(mark: float, comm: Comm) -> bool:
    """Return whether a number is not the same on all ranks; collective."""
    largest, smallest = comm.max(np.array([mark, -mark])).tolist()
    return bool(largest != -smallest)


def mend(guard: Guard | None, now: RunState, timer: RunTimer) -> None:
    """Set right the ranks that deviate, and evaluate again; collective.

    Raises
    ------
    RollBack
        On all ranks, if there is no majority, or if they still differ.
    """
    comm, objective = timer.channel.comm, now.certifier.objective
    if guard is not None:
        guard.verify(now, timer.channel)
    else:
        repair(now.state, comm)
    progress = np.ascontiguousarray(now.certifier.progress)
    crcs = [int(part[0]) for part in comm.allgather(np.array([zlib.crc32(progress.tobytes())], np.int64))]
    now.certifier.progress[:] = comm.broadcast(progress, (majority(crcs) or (0, []))[0])
    with timer.phase("evaluate"):
        exact = evaluate_exact(objective, now.state.w, timer.channel)
        now.judgement = now.certifier.judge(now.state.w, exact, now.epochs, timer.channel)
    now.exact, now.certificate = now.judgement.exact, now.judgement.certificate
    if differs(fingerprint(now), comm):
        raise RollBack(f"round {now.round}: the {comm.size} ranks do not agree on the evaluation")
    now.events.append(Event(timer.agreed_seconds(now), now.round, "repaired", ALL, "memory of a rank had changed"))


def note_evaluated(now: RunState) -> None:
    """Keep the model of this evaluation."""
    now.evaluated = np.array(now.state.w)
    now.evaluated_crc = crc_of(now.state.w)


def confirm(now: RunState, timer: RunTimer, verify: str = "auto") -> None:
    """Check that the certified model and the rows are those of the evaluation, and note what was checked; collective.

    Parameters
    ----------
    now : RunState
        The run at its certificate.
    timer : RunTimer
        It has the ranks.
    verify : str
        Whether the model is evaluated once more: "always", "never", or "auto" where that is cheap.

    Raises
    ------
    RollBack
        On all ranks, if a number has changed by itself and cannot be restored.
    """
    if now.evaluated is not None and crc_of(now.state.w) != now.evaluated_crc:
        now.state.w[...] = now.evaluated
    lost = now.evaluated is not None and crc_of(now.state.w) != now.evaluated_crc
    changed = content_sum(now.certifier.objective.shard) != now.rows_sum
    lost_model, lost_rows = timer.channel.comm.max(np.array([lost, changed], np.int64)).tolist()
    now.verified = "rows, model"
    if not (lost_model or lost_rows) and (verify == "always" or (verify == "auto" and is_cheap(now))):
        with timer.phase("evaluate"):
            lost_model = not is_confirmed(now, now.state.w, timer.channel)
        now.verified = "rows, model, evaluation"
    if lost_model or lost_rows:
        what = "rows or labels" if lost_rows else "the model or its evaluation"
        raise RollBack(f"round {now.round}: in the memory of a rank {what} had changed by itself")


def begin_anew(now: RunState, channel: Channel) -> bool:
    """Let the algorithm begin anew at its model if the evaluation there is not the one that it compares with.

    Collective. After a bit of the model has changed on all ranks there are, no step may be below the old value.
    Return whether the run goes on.

    Raises
    ------
    RollBack
        On all ranks, if the algorithm has no start at a given model.
    """
    if is_confirmed(now, now.state.w, channel):
        return False
    objective, w = now.certifier.objective, np.array(now.state.w)
    try:
        now.state = now.algorithm.go_on(w, evaluate_exact(objective, w, channel), objective, channel)
    except ValueError:
        raise RollBack(f"round {now.round}: the model is not the one that was evaluated") from None
    now.events.append(Event(now.last.seconds, now.round, "repaired", ALL, "the model had changed: evaluated anew"))
    return True


def is_cheap(now: RunState) -> bool:
    """Return whether one more evaluation is a small part of the run; equal on all ranks."""
    numbers = now.certifier.objective.shard.total * now.state.w.size
    return now.epochs >= ENOUGH_EPOCHS or numbers <= FEW_NUMBERS


def confirm_written(now: RunState, w: Model, again: Model, channel: Channel) -> bool:
    """Evaluate a certified model as its file will have it, in the columns of training again; collective.

    `again` is a second conversion of the same model. Return whether `w` is the certified model. False means that the
    units of the file make it less exact: both conversions have the same bits.

    Raises
    ------
    RollBack
        On all ranks, if a number has changed by itself.
    """
    if is_confirmed(now, w, channel):
        now.verified += ", file"
        return True
    changed = np.array([crc_of(w) != crc_of(again)], np.int64)
    if channel.comm.max(changed)[0]:
        raise RollBack("the model in the units of the file is not the one that was certified")
    return False


def is_confirmed(now: RunState, w: Model, channel: Channel) -> bool:
    """Evaluate the certified model `w` again and return whether value and gradient are those of its certificate.

    Collective. A bound that the certifier has learned before is not taken again; a model below it is refused.
    """
    certifier, before = now.certifier, now.exact
    exact = evaluate_exact(certifier.objective, w, channel)
    largest = (float(np.abs(g).max(initial=0.0)) for g in (exact.gradient, certifier.start.gradient))
    slack = SAME_VALUE * max(abs(exact.value), certifier.scale(exact.value))
    slack_of_gradient = SAME_VALUE * max(*largest) + before.error
    above = exact.value - certifier.progress.lower
    change, turn = abs(exact.value - before.value), np.abs(exact.gradient - before.gradient).max(initial=0.0)
    # `before` may have changed on one rank, so the ranks agree on what they see.
    if not channel.comm.max(np.array([not (change <= slack and turn <= slack_of_gradient)], np.int64))[0]:
        return bool(above >= -slack)
    noise = rounding.evaluation_rounding(certifier.objective, w, channel)
    slack += ROUNDINGS * noise.value
    slack_of_gradient += ROUNDINGS * float(noise.gradient.max(initial=0.0))
    moved = not (change <= slack and turn <= slack_of_gradient and above >= -slack)
    return not channel.comm.max(np.array([moved], np.int64))[0]


def crc_of(w: Model) -> int:
    """Return the CRC-32 of a model."""
    return zlib.crc32(np.ascontiguousarray(w).tobytes())
