"""The tables, the picture and the page of the study."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mpiopt.results.html.charts import Chart, Curve, curve
from mpiopt.studies.failure.claims import judge
from mpiopt.studies.failure.job import FailureCell, FailureStudy, plain
from mpiopt.studies.failure.outcome import FailureOutcome, Kill, stored_outcome
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

SYMBOLS = (
    ("checkpoint", "the server saves its weights in a store; a new server starts from there"),
    ("chain", "replicas of the server; the next one takes over"),
    ("stateless", "weights and pending gradients are in stores; the server is a function"),
    ("sync, async", "an update waits for all workers, or for none"),
    ("before → after", "accuracy at the last evaluation before a kill and at the first one after the recovery"),
    ("undone, +pending", "updates lost at a kill; gradients that waited for the server"),
    ("down s", "seconds without updates"),
    ("held MB", "the most that one store held"),
)
PAPER_ROWS, PAPER_SECONDS = 60000, 175.0  # of the paper's runs


def size_of(job: FailureStudy) -> str:
    """Return whether a job has the paper's sizes, and what another machine will see."""
    full = job.rows >= PAPER_ROWS and job.seconds >= PAPER_SECONDS
    name = "The paper's schedule and data." if full else f"Reduced: {job.rows} rows, {job.seconds:g} s."
    if job.mode == "virtual":
        return (
            f"{name} Virtual time: the same bits in every run on one machine. Another processor rounds differently: "
            "its accuracies differ by a few hundredths, and a row near the border of a fact may be off."
        )
    return f"{name} Real processes: accuracies, backlogs and times depend on the machine and its load."


class PublishedRun(NamedTuple):
    """A run of the paper (logs of its figures 4 and 5): one worker, one seed, outages of 20 s at 30 and 80 s."""

    falls: tuple[tuple[float, float], ...]  # accuracy before each kill and the first one after
    final: float  # mean of the last five accuracies


PUBLISHED = {  # by number of kills and configuration
    1: {
        "sync-checkpoint": PublishedRun(((0.529, 0.473),), 0.768),
        "async-checkpoint": PublishedRun(((0.361, 0.294),), 0.751),
        "sync-chain": PublishedRun(((0.442, 0.352),), 0.751),
        "async-chain": PublishedRun(((0.362, 0.376),), 0.729),
        "stateless": PublishedRun(((0.281, 0.426),), 0.657),
    },
    2: {
        "sync-checkpoint": PublishedRun(((0.384, 0.108), (0.512, 0.475)), 0.742),  # 0.108: not restored
        "async-checkpoint": PublishedRun(((0.333, 0.101), (0.419, 0.418)), 0.741),
        "sync-chain": PublishedRun(((0.452, 0.438), (0.573, 0.521)), 0.756),
        "async-chain": PublishedRun(((0.527, 0.502), (0.659, 0.596)), 0.763),
        "stateless": PublishedRun(((0.535, 0.589), (0.629, 0.689)), 0.739),
    },
}


def charts(outcomes: Sequence[FailureOutcome]) -> list[Chart]:
    """Return for each number of kills and workers the accuracy, the applied gradients, and the changes at kills."""
    names = list(dict.fromkeys(o.cell.configuration for o in outcomes))
    made = []
    for kills, workers in dict.fromkeys((o.cell.kills, o.cell.workers) for o in outcomes):
        title = f"{kills} kill{'' if kills == 1 else 's'}, {workers} worker{'' if workers == 1 else 's'}"
        accuracy, applied, changes = list[Curve](), list[Curve](), list[Curve]()
        for o in (o for o in outcomes if (o.cell.kills, o.cell.workers) == (kills, workers)):
            name, series = o.cell.configuration, names.index(o.cell.configuration)
            accuracy.append(curve(name, [j.seconds for j in o.judged], [j.accuracy for j in o.judged], series))
            accuracy.append(crosses(name, [k.seconds for k in o.kills], [k.before for k in o.kills], series))
            sums = list(itertools.accumulate(u.gradients for u in o.updates))
            applied.append(curve(name, [u.seconds for u in o.updates], sums, series))
            changes.append(curve(name, range(1, len(o.kills) + 1), [k.after - k.before for k in o.kills], series))
            paper = [after - before for before, after in published(o).falls]
            changes.append(crosses(name, range(1, len(paper) + 1), paper, series))
        made.append(Chart(title, "seconds (x: a kill)", "accuracy", accuracy, yaxis="linear"))
        made.append(Chart(title, "seconds", "gradients applied", applied, yaxis="linear"))
        if kills:
            made.append(Chart(title, "kill (x: the paper's)", "change of accuracy", changes, yaxis="linear"))
    return made


def crosses(name: str, x: Iterable[float], y: Iterable[float], series: int) -> Curve:
    """Return points that are drawn as crosses."""
    return Curve(name, [*x], [*y], series, mode="markers")


def published(o: FailureOutcome) -> PublishedRun:
    """Return the paper's numbers for a run, or a run without kills."""
    return PUBLISHED.get(o.cell.kills, {}).get(o.cell.family, PublishedRun((), math.nan))


def accuracies(outcomes: Sequence[FailureOutcome]) -> str:
    """Return the accuracies at each kill, the times to 60 and 70 %, and the final accuracy, beside the paper's."""
    lines = [["run", "before → after a kill", "the paper's", "down s", "undone", "60 % s", "70 % s", "end", "paper"]]
    for o in outcomes:
        paper = published(o)
        lines.append(
            [
                o.cell.text,
                "  ".join(fall(k.before, k.after) for k in o.kills),
                "  ".join(fall(*f) for f in paper.falls),
                " ".join(f"{k.downtime:.1f}" for k in o.kills),
                " ".join(undone(k) for k in o.kills),
                *(time(o.time_to(level)) for level in LEVELS),
                f"{o.final:.3f}",
                f"{paper.final:.3f}" if paper.falls else "",
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


def work(outcomes: Sequence[FailureOutcome]) -> str:
    """Return gradients, idle time, memory and bytes."""
    heads = ("run", "gradients", "applied", "updates", "workers idle s", "pending", "held MB", "largest process MB")
    lines = [[*heads, "sent MB", "deaths"]]
    for o in outcomes:
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


def cost(outcomes: Sequence[FailureOutcome], study: FailureStudy) -> str:
    """Return reserved and used core hours, their price, and the price of 60 % accuracy.

    Servers, stores and workers are reserved for the whole run; the registry and spares are not counted.
    """
    lines = [["run", "cores", "reserved h", "used h", "used %", "price reserved", "price used", "price to 60 %"]]
    for o in outcomes:
        reserved, used = o.ranks * study.seconds / 3600.0, o.total("busy") / 3600.0
        reached, price = o.time_to(LEVELS[0]), study.core_price
        until = "–" if reached is None else f"{reserved * price * reached / study.seconds:.6f}"
        share = f"{100.0 * used / reserved:.0f}"
        prices = [f"{reserved * price:.6f}", f"{used * price:.6f}", until]
        lines.append([o.cell.text, str(o.ranks), f"{reserved:.5f}", f"{used:.5f}", share, *prices])
    return aligned(lines)


def over_seeds(outcomes: Sequence[FailureOutcome]) -> str:
    """Return mean and range of the final accuracy if cells were run with several seeds, or an empty text."""
    groups: dict[FailureCell, list[FailureOutcome]] = {}
    for o in outcomes:
        groups.setdefault(o.cell._replace(seed=0), []).append(o)
    lines = [["over seeds", "runs", "final, mean", "least", "most", "gain at kills, mean"]]
    for cell, group in groups.items():
        ends = [o.final for o in group]
        gains = [k.after - k.before for o in group for k in o.kills]
        gain = f"{sum(gains) / len(gains):+.3f}" if gains else "–"
        numbers = [f"{sum(ends) / len(ends):.3f}", f"{min(ends):.3f}", f"{max(ends):.3f}", gain]
        lines.append([cell.text.rpartition(" seed")[0], str(len(group)), *numbers])
    return aligned(lines) if len(groups) < len(outcomes) else ""


def report(job: FailureStudy, outcomes: Sequence[FailureOutcome]) -> Report:
    """Return everything that the study reports; tables and curves are of the first seed."""
    one = [o for o in outcomes if o.cell.seed == outcomes[0].cell.seed]
    tables = {
        "accuracies": accuracies(one),
        "work": work(one),
        "cost": cost(one, job),
        "over seeds": over_seeds(outcomes),
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
        charts(one),
        [(title, text or "one seed") for title, text in tables.items()],
        size_of(job),
        SYMBOLS,
    )
    return Report(
        list(tables.values()),
        judge(outcomes, job),
        plain(job),
        [o.as_plain() for o in outcomes],
        summary,
        stored=[stored_outcome(o) for o in outcomes],
        source={
            "job": {**plain(job), "cells": job.cells},
            "seed": min(cell.seed for cell in job.cells),
            "data": job.data,
            "objective": job.network,
        },
    )
