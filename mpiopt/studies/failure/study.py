"""The study `failure`: run the cells, print tables and verdicts, write them as HDF5, JSON and a picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mpiopt.comm.base import Comm
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies import files
from mpiopt.studies.failure import report
from mpiopt.studies.failure.job import FailureStudy, build, plain
from mpiopt.studies.failure.outcome import FailureOutcome, as_json, from_json
from mpiopt.studies.failure.simulated import simulate
from mpiopt.studies.stepsize.report import facts_text
from mpiopt.studies.verdicts import Fact

__all__ = ["build", "run", "show"]


def run(job: FailureStudy, comm: Comm, stop: StopSignal) -> list[FailureOutcome]:
    """Run this rank's cells, gather all; in the order of the job. ValueError where the data do not suit."""
    mine = dealt(job, comm, stop) if job.mode == "virtual" else started(job, comm, stop)
    found = {o.cell: o for o in map(from_json, files.gathered(comm, mine))}
    return [found[cell] for cell in job.cells if cell in found]


def dealt(job: FailureStudy, comm: Comm, stop: StopSignal) -> list[Any]:
    """Simulate this rank's cells."""
    with comm.agree_on_errors():
        sets = job.sets()
    done = []
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        began = time.perf_counter()
        done.append(simulate(cell, job, sets))
        say(done[-1], began)
    return [as_json(o) for o in done]


def started(job: FailureStudy, comm: Comm, stop: StopSignal) -> list[Any]:
    """Start an mpirun for each cell, one after the other."""
    if comm.size > 1:
        raise ValueError('mode = "processes" starts an mpirun for each cell: start the study without mpirun')
    from mpiopt.studies.failure.process_run import Starter

    starter, done = Starter(job), []
    for number in range(len(job.cells)):
        if stop.level:
            break
        began = time.perf_counter()
        try:
            done.append(starter.start(number))
        except OSError as error:  # the others are worth having all the same
            print(error, flush=True)
            continue
        say(from_json(done[-1]), began)
    return done


def say(o: FailureOutcome, began: float) -> None:
    """Say how a cell ended."""
    how = f"{o.final:.3f}, {len(o.updates)} updates, {len(o.kills)} kills ({o.death})"
    print(f"{report.named(o.cell)}: {how}, {time.perf_counter() - began:.0f} s", flush=True)


def show(job: FailureStudy, found: list[FailureOutcome]) -> list[str]:
    """Print and write everything; give the names of the files."""
    if not found:
        print("no cell was run")
        return []
    judged = report.judge(found, job)
    one = [o for o in found if o.cell.seed == found[0].cell.seed]  # the rest in a line each, and in the files
    parts = [report.accuracies(one), report.work(one), report.cost(one, job), report.over_seeds(found)]
    print("\n" + "\n\n".join(part for part in [*parts, facts_text(judged)] if part) + "\n")
    from mpiopt.studies.failure import storage
    from mpiopt.studies.failure.report import draw

    Path(job.out).parent.mkdir(parents=True, exist_ok=True)
    storage.write(f"{job.out}.h5", found, job)
    from mpiopt.studies import page
    from mpiopt.studies.failure.report import story

    tree = tree_of(job, found, judged)
    written = files.write(job.out, tree, lambda path: draw(found, path))
    return [f"{job.out}.h5", *written, *page.write(job.out, tree, story(job, found))]


def tree_of(job: FailureStudy, found: list[FailureOutcome], judged: list[Fact]) -> dict[str, Any]:
    """Give all as plain values."""
    return {
        "job": plain(job),
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found],
    }
