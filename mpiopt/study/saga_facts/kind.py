"""The study `saga-facts`: run the grid, print the tables and the verdicts, write them as JSON and as a picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiopt.comm import Comm
from mpiopt.signals import Stop
from mpiopt.study import files
from mpiopt.study.saga_facts import facts, tables
from mpiopt.study.saga_facts.cell import EVERY, Outcome, Point, solve
from mpiopt.study.saga_facts.grid import Cell, Study, build
from mpiopt.study.saga_facts.made_up import MadeUp, make
from mpiopt.study.verdicts import Fact

__all__ = ["build", "run", "show"]


def run(job: Study, comm: Comm, stop: Stop) -> facts.Outcomes:
    """Run this rank's cells, gather all; in the order of the job."""
    problem = make(job.rows, job.features, job.ridge, job.seed)
    mine = {}
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        mine[cell] = timed(cell, job, problem)
    found = {o.cell: o for o in map(from_json, files.gathered(comm, [as_json(o) for o in mine.values()]))}
    return facts.Outcomes(found[cell] for cell in job.cells if cell in found)


def timed(cell: Cell, job: Study, problem: MadeUp) -> Outcome:
    """Run a cell and say so."""
    begin = time.perf_counter()
    outcome = solve(cell, job, problem)
    print(tables.one_line(outcome, time.perf_counter() - begin), flush=True)
    return outcome


def show(job: Study, found: facts.Outcomes) -> list[str]:
    """Print and write everything; give the names of the files."""
    judged = facts.judge(found)
    print("\nepochs/rounds to the tolerance, best step, median run; or the suboptimality after the budget:\n")
    print(tables.epochs_table(found, job))
    print(f"\nlinear rate, ln of the suboptimality over epochs, looks every {EVERY} epochs or every round:\n")
    print(tables.rates_table(found))
    print(f"\n{tables.facts_text(judged)}\n")
    from mpiopt.study import page, stored
    from mpiopt.study.saga_facts.picture import draw
    from mpiopt.study.saga_facts.story import story

    tree = tree_of(job, found, judged)
    written = files.write(job.out, tree, lambda path: draw(found, path))
    written += stored.write(f"{job.out}.h5", "saga-facts", tree)
    return written + page.write(job.out, tree, story(job, found))


def tree_of(job: Study, found: facts.Outcomes, judged: Sequence[Fact]) -> dict[str, Any]:
    """Give all as plain values."""
    return {
        "job": {k: v for k, v in vars(job).items() if k != "cells"},
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found.by_cell.values()],
    }


def as_json(o: Outcome) -> dict[str, Any]:
    """Give an outcome as plain values; the rate is for readers only."""
    rate = {k: v if np.isfinite(v) else None for k, v in o.rate._asdict().items()}
    return {**vars(o), "cell": list(o.cell), "trace": [list(p) for p in o.trace], "rate": rate}


def from_json(tree: dict[str, Any]) -> Outcome:
    """Give the outcome back."""
    fields = {k: v for k, v in tree.items() if k != "rate"}
    cell, trace = Cell(*tree["cell"]), [Point(*p) for p in tree["trace"]]
    return Outcome(**{**fields, "cell": cell, "trace": trace, "spread": tuple(tree["spread"])})
