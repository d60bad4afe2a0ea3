"""The facts (i) to (v) that the paper's configurations are expected to show, judged on the outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpiopt.core.config.spec import parse_spec
from mpiopt.studies.failure.job import FailureStudy, server_of
from mpiopt.studies.failure.outcome import VIRTUAL, FailureOutcome
from mpiopt.studies.job_file import make_plugin
from mpiopt.studies.parameter_server.backlogs.base import Backlog
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.verdicts import Comparison, Fact, judged

NOISE = 0.03  # of an accuracy: a step or two of learning
IN_TRANSIT = 1  # updates between the last replication and its arrival
HELD_RATIO = 1.1  # bytes that a store holds / bytes of what is pending, at most; at least 0.9
PENDING_RATIO = 1.4  # pending gradients / (rate x downtime), either way
PENDING_RATIO_PROCESSES = 2.5  # the same between processes: a dead server leaves its core to the workers


def gains(outcomes: Iterable[FailureOutcome]) -> Iterable[Comparison]:
    """Fact i."""
    for o in outcomes:
        for kill in o.kills if o.cell.family == "stateless" else ():
            yield Comparison(kill.after > kill.before, f"{o.cell.text}: {kill.before:.3f} → {kill.after:.3f}")


def losses(outcomes: Iterable[FailureOutcome]) -> Iterable[Comparison]:
    """Fact ii, for servers that restore."""
    for o in outcomes:
        period = server_of(o.cell).period
        if period is None or getattr(server_of(o.cell), "no_restore_while_kills_pending", False):
            continue
        for kill in o.kills:
            held = 0 <= kill.undone <= period + IN_TRANSIT and kill.after <= kill.before + NOISE
            change = f"{kill.before:.3f} → {kill.after:.3f}, {kill.undone} updates undone"
            yield Comparison(held, f"{o.cell.text}: {change}")


def downtimes(outcomes: Iterable[FailureOutcome]) -> Iterable[Comparison]:
    """Fact iii, for pairs of runs that differ in nothing else."""
    mean = {o.cell: sum(k.downtime for k in o.kills) / len(o.kills) for o in outcomes if o.kills}
    for cell, chain in mean.items():
        for other, checkpoint in mean.items():
            pair = cell.family.endswith("-chain") and other.family == cell.family.replace("chain", "checkpoint")
            if pair and cell[1:] == other[1:]:
                text = f"{cell.text} {chain:.2f} s, {other.configuration} {checkpoint:.2f} s"
                yield Comparison(chain < checkpoint, text)


def memory(outcomes: Iterable[FailureOutcome]) -> Iterable[Comparison]:
    """Fact iv: the bytes held are those of the pending gradients, and their number follows from rate and downtime."""
    for o in outcomes:
        if o.cell.family != "stateless" or not o.kills:
            continue
        held, pending = o.most("held"), o.most("queued")
        yield Comparison(
            0.9 <= held / (4.0 * o.size * (pending + 1)) <= HELD_RATIO, f"{o.cell.text}: {held / 1e6:.1f} MB held"
        )
        computed = sum(lifetime.counts.computed for lifetime in o.lives if lifetime.role is Role.WORKER)
        expected = computed / o.updates[-1].seconds * max(k.downtime for k in o.kills)
        ratio = PENDING_RATIO if o.death == VIRTUAL else PENDING_RATIO_PROCESSES
        held_to = 1.0 / ratio <= pending / max(expected, 1.0) <= ratio
        yield Comparison(held_to, f"{o.cell.text}: {pending:.0f} pending, rate times time away {expected:.0f}")


def steps(outcomes: Iterable[FailureOutcome], study: FailureStudy) -> Iterable[Comparison]:
    """Fact v, for the paper's rule: one small step for a large backlog, the plain step otherwise."""
    if parse_spec(study.backlog).name != "small-step":
        return
    rule = make_plugin(Backlog, study.backlog)
    for o in outcomes:
        if o.cell.family == "stateless":
            right = [u for u in o.updates if abs(u.step / rule.step(study.step, u.gradients, 0.0) - 1.0) < 1e-9]
            large = [u for u in o.updates if u.gradients > rule.most]
            text = f"{o.cell.text}: {len(right)} of {len(o.updates)} steps, {len(large)} of them of a backlog"
            yield Comparison(len(right) == len(o.updates), text)


GAIN = "the paper's: abstract, figures 4 and 5"
DESIGN = "the paper's: its description of the configurations; a period is that of its code"
LOGS = "the paper's logs: 10 to 14 s and 23 to 24 s without an evaluation"
MEMORY = "ours, from the paper's 745 MB and 232 to 237 gradients"
RULE = "the paper's code: a step of 1e-3 beyond 50 pending gradients"


def judge(outcomes: Sequence[FailureOutcome], study: FailureStudy) -> list[Fact]:
    """Judge all facts."""
    return judged(
        ("i", "stateless: more accurate right after the recovery than before the kill", GAIN, gains(outcomes)),
        ("ii", "checkpoint, chain: no better after than before; one period undone at most", DESIGN, losses(outcomes)),
        ("iii", "a chain is down for less time than a checkpoint", LOGS, downtimes(outcomes)),
        ("iv", "stateless: a store holds what is pending, the rate times the time away", MEMORY, memory(outcomes)),
        ("v", "a backlog is one step by the stated rule", RULE, steps(outcomes, study)),
    )
