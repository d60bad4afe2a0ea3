"""The study `failure`: run the cells, print tables and verdicts, write them as HDF5, JSON and a picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mpiopt.comm import Comm
from mpiopt.datasets import together
from mpiopt.signals import Stop
from mpiopt.study import files
from mpiopt.study.failure import facts, tables
from mpiopt.study.failure.job import Study, build, plain
from mpiopt.study.failure.outcome import Outcome, as_json, from_json
from mpiopt.study.failure.simulated import simulate
from mpiopt.study.stepsize.tables import facts_text
from mpiopt.study.verdicts import Fact

__all__ = ["build", "run", "show"]


def run(job: Study, comm: Comm, stop: Stop) -> list[Outcome]:
    """Run this rank's cells, gather all; in the order of the job. ValueError where the data do not suit."""
    mine = dealt(job, comm, stop) if job.mode == "virtual" else started(job, comm, stop)
    found = {o.cell: o for o in map(from_json, files.gathered(comm, mine))}
    return [found[cell] for cell in job.cells if cell in found]


def dealt(job: Study, comm: Comm, stop: Stop) -> list[Any]:
    """Simulate this rank's cells."""
    sets = together(comm, job.sets)
    done = []
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        began = time.perf_counter()
        done.append(simulate(cell, job, sets))
        say(done[-1], began)
    return [as_json(o) for o in done]


def started(job: Study, comm: Comm, stop: Stop) -> list[Any]:
    """Start an mpirun for each cell, one after the other."""
    if comm.size > 1:
        raise ValueError('mode = "processes" starts an mpirun for each cell: start the study without mpirun')
    from mpiopt.study.failure.starting import Starter

    starter, done = Starter(job), []
    for number in range(len(job.cells)):
        if stop.level:
            break
        began = time.perf_counter()
        done.append(starter.start(number))
        say(from_json(done[-1]), began)
    return done


def say(o: Outcome, began: float) -> None:
    """Say how a cell ended."""
    how = f"{o.final:.3f}, {len(o.updates)} updates, {len(o.kills)} kills ({o.death})"
    print(f"{facts.named(o.cell)}: {how}, {time.perf_counter() - began:.0f} s", flush=True)


def show(job: Study, found: list[Outcome]) -> list[str]:
    """Print and write everything; give the names of the files."""
    if not found:
        print("no cell was run")
        return []
    judged = facts.judge(found, job)
    one = [o for o in found if o.cell.seed == found[0].cell.seed]  # the rest in a line each, and in the files
    parts = [tables.accuracies(one), tables.work(one), tables.cost(one, job), tables.over_seeds(found)]
    print("\n" + "\n\n".join(part for part in [*parts, facts_text(judged)] if part) + "\n")
    from mpiopt.study.failure import stored
    from mpiopt.study.failure.picture import draw

    Path(job.out).parent.mkdir(parents=True, exist_ok=True)
    stored.write(f"{job.out}.h5", found, job)
    from mpiopt.study import page
    from mpiopt.study.failure.story import story

    tree = tree_of(job, found, judged)
    written = files.write(job.out, tree, lambda path: draw(found, path))
    return [f"{job.out}.h5", *written, *page.write(job.out, tree, story(job, found))]


def tree_of(job: Study, found: list[Outcome], judged: list[Fact]) -> dict[str, Any]:
    """Give all as plain values."""
    return {
        "job": plain(job),
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found],
    }
