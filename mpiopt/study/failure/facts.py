"""What the paper's configurations are expected to show, judged on the outcomes (facts (i) to (v))."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpiopt.selection import select
from mpiopt.serving.view import Role
from mpiopt.study.failure.job import Cell, Study, made, server_of
from mpiopt.study.failure.outcome import VIRTUAL, Outcome
from mpiopt.study.verdicts import Fact, Item

NOISE = 0.03  # of an accuracy: a step or two of learning
UNDER_WAY = 1  # updates between the last replication and its arrival


def judge(found: Sequence[Outcome], study: Study) -> list[Fact]:
    """Judge all facts."""
    return [
        Fact("i", "stateless: more accurate right after the recovery than before the kill", list(gains(found))),
        Fact("ii", "checkpoint, chain: no better after than before; one period undone at most", list(losses(found))),
        Fact("iii", "a chain is down for less time than a checkpoint", list(downtimes(found))),
        Fact("iv", "stateless: a store holds what is pending, the rate times the time away", list(memory(found))),
        Fact("v", "a backlog is one step by the stated rule", list(steps(found, study))),
    ]


def family(cell: Cell) -> str:
    """Give the configuration without its options."""
    return select(cell.configuration).name


def named(cell: Cell) -> str:
    """Name a run."""
    kills = "no kill" if cell.kills == 0 else f"{cell.kills} kill{'s' if cell.kills > 1 else ''}"
    return f"{cell.configuration} W={cell.workers} {kills} seed {cell.seed}"


def gains(found: Iterable[Outcome]) -> Iterable[Item]:
    """Fact i."""
    for o in found:
        for kill in o.kills if family(o.cell) == "stateless" else ():
            yield Item(kill.after > kill.before, f"{named(o.cell)}: {kill.before:.3f} → {kill.after:.3f}")


def losses(found: Iterable[Outcome]) -> Iterable[Item]:
    """Fact ii, where a new server restores."""
    for o in found:
        period = server_of(o.cell).period
        if period is None or getattr(server_of(o.cell), "no_restore_while_kills_pending", False):
            continue
        for kill in o.kills:
            held = 0 <= kill.undone <= period + UNDER_WAY and kill.after <= kill.before + NOISE
            change = f"{kill.before:.3f} → {kill.after:.3f}, {kill.undone} updates undone"
            yield Item(held, f"{named(o.cell)}: {change}")


def downtimes(found: Iterable[Outcome]) -> Iterable[Item]:
    """Fact iii, for runs that differ in nothing else."""
    mean = {o.cell: sum(k.downtime for k in o.kills) / len(o.kills) for o in found if o.kills}
    for cell, chain in mean.items():
        for other, checkpoint in mean.items():
            pair = family(cell).endswith("-chain") and family(other) == family(cell).replace("chain", "checkpoint")
            if pair and cell[1:] == other[1:]:
                text = f"{named(cell)} {chain:.2f} s, {other.configuration} {checkpoint:.2f} s"
                yield Item(chain < checkpoint, text)


def memory(found: Iterable[Outcome]) -> Iterable[Item]:
    """Fact iv: what is held is counted; how much is pending follows from the rate before the kill."""
    for o in found:
        if family(o.cell) != "stateless" or not o.kills:
            continue
        held, pending = o.most("held"), o.most("queued")
        yield Item(0.9 <= held / (4.0 * o.size * (pending + 1)) <= 1.1, f"{named(o.cell)}: {held / 1e6:.1f} MB held")
        computed = sum(life.counts.computed for life in o.lives if life.role is Role.WORKER)
        expected = computed / o.updates[-1].seconds * max(k.downtime for k in o.kills)
        room = 1.4 if o.death == VIRTUAL else 2.5  # a real server leaves the workers its core while it is away
        held_to = 1.0 / room <= pending / max(expected, 1.0) <= room
        yield Item(held_to, f"{named(o.cell)}: {pending:.0f} pending, rate times time away {expected:.0f}")


def steps(found: Iterable[Outcome], study: Study) -> Iterable[Item]:
    """Fact v: with the paper's rule, 1e-3 beyond 50 and the plain step up to there."""
    if select(study.backlog).name != "small-step":
        return
    from mpiopt.backlogs import Backlog

    rule = made(Backlog, study.backlog)
    for o in found:
        if family(o.cell) == "stateless":
            right = [u for u in o.updates if abs(u.step / rule.step(study.step, u.gradients, 0.0) - 1.0) < 1e-9]
            large = [u for u in o.updates if u.gradients > rule.most]
            text = f"{named(o.cell)}: {len(right)} of {len(o.updates)} steps, {len(large)} of them of a backlog"
            yield Item(len(right) == len(o.updates), text)
