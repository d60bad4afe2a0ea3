"""The tables, the picture and the page of the study."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from mpiopt.results.html.charts import Chart, curve
from mpiopt.studies.drawing import panels
from mpiopt.studies.failure import published
from mpiopt.studies.failure.claims import judge
from mpiopt.studies.failure.job import FailureCell, FailureStudy, plain
from mpiopt.studies.failure.outcome import FailureOutcome, Kill
from mpiopt.studies.failure.storage import stored_outcome
from mpiopt.studies.page import StudySummary
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.report import Report, aligned

LEVELS = (0.6, 0.7)  # accuracies whose times are reported

PAPER = (
    "Cao, Luo, Gan and Jinesh, Training Through Failure: effects of data consistency in parallel machine learning "
    "training, Stanford CS244B (2024), arXiv:2406.05546; their numbers are from the logs behind their figures"
)
CORRECTED = (
    "The collapse of checkpoints in the figure with two kills is an error of the published code: with a kill still "
    "pending the new server starts from random weights. Here it restores; an option reproduces the figure.",
    "The paper's runs have one worker, where sync and async differ by noise only: more workers are run here.",
    "A store appends a gradient in O(1) time; in the paper's code each append writes the whole list again, which "
    "bounds the backlog.",
    "The logits have no ReLU.",
)
UNKNOWN = (
    "One seed without repeats: the paper's accuracies are known only to about 5 points.",
    "The stateless server computes five times as many gradients mostly because its workers are not restarted for "
    "each task, not because of its consistency; gradients per second are shown separately.",
)


def draw(found: Sequence[FailureOutcome], path: str) -> None:
    """Draw accuracy, gradients, and the change at a kill beside the paper's; first seed, fewest workers."""
    workers, seed = min((o.cell.workers, o.cell.seed) for o in found)
    shown = [o for o in found if (o.cell.workers, o.cell.seed) == (workers, seed)]
    kills = sorted({o.cell.kills for o in shown})
    with panels(path, len(kills), 3, (14, 4 * len(kills))) as grid:
        for row, number in zip(grid, kills, strict=True):
            here = [o for o in shown if o.cell.kills == number]
            over_time(row[0], row[1], here)
            beside_the_paper(row[2], here)
            row[0].set_title(f"deaths: {number}, workers: {workers}, seed {seed}")


def short(o: FailureOutcome) -> str:
    """Return the name of a configuration, with a star if it has options."""
    return o.cell.family + ("*" if "[" in o.cell.configuration else "")


def over_time(accuracy: Any, gradients: Any, here: Sequence[FailureOutcome]) -> None:
    """Draw accuracies and applied gradients over time; deaths are grey lines."""
    for place, o in enumerate(here):
        label = short(o)
        accuracy.plot([j.seconds for j in o.judged], [j.accuracy for j in o.judged], color=f"C{place}", label=label)
        applied = list(itertools.accumulate(u.gradients for u in o.updates))
        gradients.plot([u.seconds for u in o.updates], applied, color=f"C{place}", label=label)
        for axes in (accuracy, gradients):
            for kill in o.kills:
                axes.axvline(kill.seconds, color="0.8", linewidth=1)
    accuracy.set(xlabel="seconds", ylabel="accuracy")
    gradients.set(xlabel="seconds", ylabel="gradients applied")
    accuracy.legend(fontsize="small", loc="lower right")


def beside_the_paper(axes: Any, here: Sequence[FailureOutcome]) -> None:
    """Draw the change of accuracy at each kill: bars are ours, crosses are the paper's."""
    names = [short(o) for o in here]
    for place, o in enumerate(here):
        paper = published.RUNS.get(o.cell.kills, {}).get(o.cell.family)
        for k, kill in enumerate(o.kills):
            axes.bar(place + 0.25 * k, kill.after - kill.before, 0.22, color=f"C{place}")
        for k, (before, after) in enumerate(paper.falls if paper else ()):
            axes.plot(place + 0.25 * k, after - before, "kx")
    axes.axhline(0.0, color="0.5", linewidth=1)
    axes.set_xticks(range(len(names)), names, rotation=20, fontsize="small")
    axes.set_ylabel("change of accuracy at a kill (x: the paper's)")


def accuracies(found: Sequence[FailureOutcome]) -> str:
    """Return the accuracies at each kill, the times to 60 and 70 %, and the final accuracy, beside the paper's."""
    lines = [["run", "before → after a kill", "the paper's", "down s", "undone", "60 % s", "70 % s", "end", "paper"]]
    for o in found:
        paper = published.RUNS.get(o.cell.kills, {}).get(o.cell.family)
        lines.append(
            [
                o.cell.text,
                "  ".join(fall(k.before, k.after) for k in o.kills),
                "  ".join(fall(*f) for f in paper.falls) if paper else "",
                " ".join(f"{k.downtime:.1f}" for k in o.kills),
                " ".join(undone(k) for k in o.kills),
                *(time(o.time_to(level)) for level in LEVELS),
                f"{o.final:.3f}",
                f"{paper.final:.3f}" if paper else "",
            ]
        )
    return aligned(lines)


def fall(before: float, after: float) -> str:
    """Write an accuracy before and after."""
    return f"{before:.3f} → {after:.3f}"


def undone(kill: Kill) -> str:
    """Return the number of lost updates or, if none was lost, of pending gradients."""
    return str(kill.undone) if kill.undone > 0 else f"+{kill.backlog}"


def time(seconds: float | None) -> str:
    """Write a time, or a dash."""
    return "–" if seconds is None else f"{seconds:.1f}"


def work(found: Sequence[FailureOutcome]) -> str:
    """Return gradients, idle time, memory and bytes."""
    heads = ("run", "gradients", "applied", "updates", "workers idle s", "pending", "held MB", "largest process MB")
    lines = [[*heads, "sent MB", "deaths"]]
    for o in found:
        lines.append(
            [
                o.cell.text,
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


def cost(found: Sequence[FailureOutcome], study: FailureStudy) -> str:
    """Return reserved and used core hours, their price, and the price of 60 % accuracy.

    Servers, stores and workers are reserved for the whole run; the registry and spares are not counted.
    """
    lines = [["run", "cores", "reserved h", "used h", "used %", "price reserved", "price used", "price to 60 %"]]
    for o in found:
        reserved, used = o.ranks * study.seconds / 3600.0, o.total("busy") / 3600.0
        reached, price = o.time_to(LEVELS[0]), study.core_price
        until = "–" if reached is None else f"{reserved * price * reached / study.seconds:.6f}"
        share = f"{100.0 * used / reserved:.0f}"
        prices = [f"{reserved * price:.6f}", f"{used * price:.6f}", until]
        lines.append([o.cell.text, str(o.ranks), f"{reserved:.5f}", f"{used:.5f}", share, *prices])
    return aligned(lines)


def over_seeds(found: Sequence[FailureOutcome]) -> str:
    """Return mean and range of the final accuracy if cells were run with several seeds, or an empty text."""
    groups: dict[FailureCell, list[FailureOutcome]] = {}
    for o in found:
        groups.setdefault(o.cell._replace(seed=0), []).append(o)
    lines = [["over seeds", "runs", "final, mean", "least", "most", "gain at kills, mean"]]
    for cell, group in groups.items():
        ends = [o.final for o in group]
        gains = [k.after - k.before for o in group for k in o.kills]
        gain = f"{sum(gains) / len(gains):+.3f}" if gains else "–"
        numbers = [f"{sum(ends) / len(ends):.3f}", f"{min(ends):.3f}", f"{max(ends):.3f}", gain]
        lines.append([cell.text.rpartition(" seed")[0], str(len(group)), *numbers])
    return aligned(lines) if len(groups) < len(found) else ""


def report(job: FailureStudy, found: Sequence[FailureOutcome]) -> Report:
    """Return everything that the study reports; tables and curves are of the first seed."""
    one = [o for o in found if o.cell.seed == found[0].cell.seed]
    names = list(dict.fromkeys(o.cell.configuration for o in one))
    charts = []
    for kills, workers in dict.fromkeys((o.cell.kills, o.cell.workers) for o in one):
        parts = [
            curve(name, [j.seconds for j in o.judged], [j.accuracy for j in o.judged], names.index(name))
            for o in one
            if (o.cell.kills, o.cell.workers) == (kills, workers)
            for name in [o.cell.configuration]
        ]
        title = f"{kills} kill{'' if kills == 1 else 's'}, {workers} worker{'' if workers == 1 else 's'}"
        charts.append(Chart(title, "seconds", "accuracy", parts, yaxis="linear"))
    tables = {
        "accuracies": accuracies(one),
        "work": work(one),
        "cost": cost(one, job),
        "over seeds": over_seeds(found),
    }
    summary = StudySummary(
        "Training through the death of the parameter server",
        PAPER,
        "a stateless server gains up to 10 points of accuracy across a failure (15 in the text), because the workers "
        "continue; in the end it is no more accurate than checkpoints or chains.",
        f"Five ways to keep the parameters, killed while a network is trained (mode {job.mode}); accuracy over time, "
        "before and after each kill.",
        CORRECTED,
        UNKNOWN,
        charts,
        [(title, text or "one seed") for title, text in tables.items()],
    )
    return Report(
        list(tables.values()),
        judge(found, job),
        plain(job),
        [o.as_plain() for o in found],
        lambda path: draw(found, path),
        summary,
        stored=[stored_outcome(o) for o in found],
        source={
            "job": {**plain(job), "cells": job.cells},
            "seed": min(cell.seed for cell in job.cells),
            "data": job.data,
            "objective": job.network,
        },
    )
