"""The command `study`: run the grid, print the tables and the verdicts, write them as JSON and as a picture."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.channel import Channel
from mpiopt.comm import Comm
from mpiopt.signals import Stop
from mpiopt.study import facts, tables
from mpiopt.study.cell import EVERY, Outcome, Point, solve
from mpiopt.study.grid import Cell, Study, read
from mpiopt.study.made_up import MadeUp, make

USAGE = "study takes one job file: mpiopt study JOB.toml"


def study(words: Sequence[str], comm: Comm, stop: Stop) -> int:
    """Run a study; the cells are dealt to the ranks. Exit code 0 whatever the verdicts say.

    After a signal the cells done so far are shown and written.
    """
    job, error = None, None
    try:
        job = job_of(words)
    except (ValueError, OSError) as failure:
        error = failure
    comm.agree(error)
    if job is None:
        return 1
    began = time.perf_counter()
    found = facts.Outcomes(run(job, comm, stop))
    stop.agreed(Channel(comm))
    if comm.rank == 0:
        error = publish(job, found, time.perf_counter() - began)
    comm.agree(error)
    return stop.exit_code


def job_of(words: Sequence[str]) -> Study:
    """Read the job file that is named."""
    if len(words) != 1 or words[0].startswith("-"):
        raise ValueError(USAGE)
    return read(words[0])


def run(job: Study, comm: Comm, stop: Stop) -> list[Outcome]:
    """Run this rank's cells, gather all; in the order of the job."""
    problem = make(job.rows, job.features, job.ridge, job.seed)
    mine = {}
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        mine[cell] = timed(cell, job, problem)
    text = json.dumps([as_json(o) for o in mine.values()]).encode()
    parts = comm.allgather(np.frombuffer(text, np.uint8))
    found = {o.cell: o for part in parts for o in map(from_json, json.loads(part.tobytes()))}
    return [found[cell] for cell in job.cells if cell in found]


def timed(cell: Cell, job: Study, problem: MadeUp) -> Outcome:
    """Run a cell and say so."""
    begin = time.perf_counter()
    outcome = solve(cell, job, problem)
    print(tables.one_line(outcome, time.perf_counter() - begin), flush=True)
    return outcome


def publish(job: Study, found: facts.Outcomes, seconds: float) -> OSError | None:
    """Print and write everything; give the error where a file could not be written."""
    judged = facts.judge(found)
    print("\nepochs/rounds to the tolerance, best step, median run; or the suboptimality after the budget:\n")
    print(tables.epochs_table(found, job))
    print(f"\nlinear rate, ln of the suboptimality over epochs, looks every {EVERY} epochs or every round:\n")
    print(tables.rates_table(found))
    print(f"\n{tables.facts_text(judged)}\n")
    try:
        print(f"{seconds:.0f} s; written: {', '.join(write(job, found, judged))}")
    except OSError as error:
        return error
    return None


def write(job: Study, found: facts.Outcomes, judged: Sequence[facts.Fact]) -> list[str]:
    """Write OUT.json and, where matplotlib is there, OUT.png; give their names."""
    from mpiopt.study.picture import draw

    Path(job.out).parent.mkdir(parents=True, exist_ok=True)
    names = [f"{job.out}.json"]
    tree = {
        "job": {k: v for k, v in vars(job).items() if k != "cells"},
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found.by_cell.values()],
    }
    partial = f"{names[0]}.partial"
    Path(partial).write_text(json.dumps(tree))
    os.replace(partial, names[0])
    try:
        draw(found, f"{job.out}.png")
    except ImportError:
        return [*names, "no picture without matplotlib"]
    return [*names, f"{job.out}.png"]


def as_json(o: Outcome) -> dict[str, Any]:
    """Give an outcome as plain values; the rate is for readers only."""
    rate = {k: v if np.isfinite(v) else None for k, v in o.rate._asdict().items()}
    return {**vars(o), "cell": list(o.cell), "trace": [list(p) for p in o.trace], "rate": rate}


def from_json(tree: dict[str, Any]) -> Outcome:
    """Give the outcome back."""
    fields = {k: v for k, v in tree.items() if k != "rate"}
    cell, trace = Cell(*tree["cell"]), [Point(*p) for p in tree["trace"]]
    return Outcome(**{**fields, "cell": cell, "trace": trace, "spread": tuple(tree["spread"])})
