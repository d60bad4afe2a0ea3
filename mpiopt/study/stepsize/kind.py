"""The study `stepsize`: run the cells, print the table and the verdicts, write them as JSON and as a picture."""

from __future__ import annotations

import time
from typing import Any

from mpiopt.comm import Comm
from mpiopt.signals import Stop
from mpiopt.study import files
from mpiopt.study.stepsize import facts, tables
from mpiopt.study.stepsize.job import Cell, Study, build
from mpiopt.study.stepsize.made_up import MadeUp, make
from mpiopt.study.stepsize.simulation import Outcome, solve
from mpiopt.study.verdicts import Fact

__all__ = ["build", "run", "show"]


def run(job: Study, comm: Comm, stop: Stop) -> list[Outcome]:
    """Run this rank's cells, gather all; in the order of the job."""
    problems = {ranks: made_up(ranks, job) for ranks in sorted({cell.ranks for cell in job.cells})}
    mine = []
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        mine.append(as_json(timed(cell, job, problems[cell.ranks][cell.spread])))
    found = {o.cell: o for o in map(from_json, files.gathered(comm, mine))}
    return [found[cell] for cell in job.cells if cell in found]


def made_up(ranks: int, job: Study) -> dict[float, MadeUp]:
    """Make the problems of so many ranks, in ascending order of the spreads of the whole job."""
    spreads = sorted({cell.spread for cell in job.cells})
    return make(ranks, job.rows, job.features, job.condition, spreads, job.seed)


def timed(cell: Cell, job: Study, problem: MadeUp) -> Outcome:
    """Run a cell and say so."""
    begin = time.perf_counter()
    outcome = solve(cell, job, problem)
    where = f"{cell.coordinator} {cell.form}, {time.perf_counter() - begin:.1f} s"
    print(f"{facts.named(outcome)}  ({where})", flush=True)
    return outcome


def show(job: Study, found: list[Outcome]) -> list[str]:
    """Print and write everything; give the names of the files."""
    if not found:
        print("no cell was run")
        return []
    judged = facts.judge(found, job)
    print(f"\niterations/messages to {job.tol:g} of (F − F*)/(F(0) − F*), messages over all edges:\n")
    print(f"{tables.table(found)}\n\n{tables.facts_text(judged)}\n")
    from mpiopt.study import page, stored
    from mpiopt.study.stepsize.picture import draw
    from mpiopt.study.stepsize.story import story

    tree = tree_of(job, found, judged)
    written = files.write(job.out, tree, lambda path: draw(found, path))
    written += stored.write(f"{job.out}.h5", "stepsize", tree)
    return written + page.write(job.out, tree, story(job, found))


def tree_of(job: Study, found: list[Outcome], judged: list[Fact]) -> dict[str, Any]:
    """Give all as plain values."""
    return {
        "job": {k: v for k, v in vars(job).items() if k != "cells"},
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found],
    }


def as_json(o: Outcome) -> dict[str, Any]:
    """Give an outcome as plain values."""
    return {**vars(o), "cell": list(o.cell)}


def from_json(tree: dict[str, Any]) -> Outcome:
    """Give the outcome back."""
    return Outcome(**{**tree, "cell": Cell(*tree["cell"])})
