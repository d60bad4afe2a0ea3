"""What the study prints: accuracies beside the paper's, what was done, what it cost, the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from mpiopt.serving.view import Role
from mpiopt.study.failure import paper
from mpiopt.study.failure.facts import family, named
from mpiopt.study.failure.job import Cell, Study
from mpiopt.study.failure.outcome import Kill, Outcome
from mpiopt.study.files import aligned


def accuracies(found: Sequence[Outcome]) -> str:
    """Give the falls at each kill, the times to 60 and 70 %, and how it ended, beside the paper's."""
    lines = [["run", "before → after a kill", "the paper's", "down s", "undone", "60 % s", "70 % s", "end", "paper"]]
    for o in found:
        seen = paper.SEEN.get(o.cell.kills, {}).get(family(o.cell))
        lines.append(
            [
                named(o.cell),
                "  ".join(fall(k.before, k.after) for k in o.kills),
                "  ".join(fall(*f) for f in seen.falls) if seen else "",
                " ".join(f"{k.downtime:.1f}" for k in o.kills),
                " ".join(undone(k) for k in o.kills),
                *(time(o.time_to(level)) for level in (0.6, 0.7)),
                f"{o.final:.3f}",
                f"{seen.final:.3f}" if seen else "",
            ]
        )
    return aligned(lines)


def fall(before: float, after: float) -> str:
    """Write an accuracy before and after."""
    return f"{before:.3f} → {after:.3f}"


def undone(kill: Kill) -> str:
    """Give what was lost; of a stateless server, what was pending."""
    return str(kill.undone) if kill.undone > 0 else f"+{kill.backlog}"


def time(seconds: float | None) -> str:
    """Write a time, if it came."""
    return "–" if seconds is None else f"{seconds:.1f}"


def work(found: Sequence[Outcome]) -> str:
    """Give gradients, idle time, memory and bytes."""
    heads = ("run", "gradients", "applied", "updates", "workers idle s", "pending", "held MB", "largest process MB")
    lines = [[*heads, "sent MB", "deaths"]]
    for o in found:
        lines.append(
            [
                named(o.cell),
                f"{o.total('computed'):.0f}",
                f"{sum(u.gradients for u in o.updates)}",
                f"{len(o.updates)}",
                f"{o.idle(Role.WORKER):.1f}",
                f"{o.most('queued'):.0f}",
                f"{o.held / 1e6:.1f}",
                f"{o.most('resident') / 1e6:.0f}" if o.most("resident") else "–",
                f"{o.total('bytes_sent') / 1e6:.0f}",
                o.death,
            ]
        )
    return aligned(lines)


def cost(found: Sequence[Outcome], study: Study) -> str:
    """Give core hours that are reserved and that are used, at the price, and what 60 % cost.

    Ranks that serve, store or work are reserved for the whole run; the registry and spares are not counted.
    """
    lines = [["run", "cores", "reserved h", "used h", "used %", "price reserved", "price used", "price to 60 %"]]
    for o in found:
        reserved, used = o.ranks * study.seconds / 3600.0, o.total("busy") / 3600.0
        reached, price = o.time_to(0.6), study.core_price
        until = "–" if reached is None else f"{reserved * price * reached / study.seconds:.6f}"
        share = f"{100.0 * used / reserved:.0f}"
        prices = [f"{reserved * price:.6f}", f"{used * price:.6f}", until]
        lines.append([named(o.cell), str(o.ranks), f"{reserved:.5f}", f"{used:.5f}", share, *prices])
    return aligned(lines)


def without_seed(cell: Cell) -> Cell:
    """Give the cell of all seeds."""
    return cell._replace(seed=0)


def over_seeds(found: Sequence[Outcome]) -> str:
    """Give the mean and the range of the final accuracy where a cell was run with several seeds; else nothing."""
    groups: dict[Cell, list[Outcome]] = {}
    for o in found:
        groups.setdefault(without_seed(o.cell), []).append(o)
    lines = [["over seeds", "runs", "final, mean", "least", "most", "gain at kills, mean"]]
    for cell, group in groups.items():
        ends = [o.final for o in group]
        gains = [k.after - k.before for o in group for k in o.kills]
        gain = f"{sum(gains) / len(gains):+.3f}" if gains else "–"
        numbers = [f"{sum(ends) / len(ends):.3f}", f"{min(ends):.3f}", f"{max(ends):.3f}", gain]
        lines.append([named(cell).rpartition(" seed")[0], str(len(group)), *numbers])
    return aligned(lines) if len(groups) < len(found) else ""
