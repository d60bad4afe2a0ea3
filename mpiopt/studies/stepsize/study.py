"""The study `stepsize`: run the cells, print the table and the verdicts, write them as JSON and as a picture."""

from __future__ import annotations

import time
from typing import Any

from mpiopt.comm.base import Comm
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies import files
from mpiopt.studies.stepsize import report
from mpiopt.studies.stepsize.job import StepSizeCell, StepSizeStudy, build
from mpiopt.studies.stepsize.simulation import StepSizeOutcome, solve
from mpiopt.studies.stepsize.synthetic import SyntheticRegression, make
from mpiopt.studies.verdicts import Fact

__all__ = ["build", "run", "show"]


def run(job: StepSizeStudy, comm: Comm, stop: StopSignal) -> list[StepSizeOutcome]:
    """Run this rank's cells, gather all; in the order of the job."""
    problems = {ranks: made_up(ranks, job) for ranks in sorted({cell.ranks for cell in job.cells})}
    mine = []
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        mine.append(as_json(timed(cell, job, problems[cell.ranks][cell.spread])))
    found = {o.cell: o for o in map(from_json, files.gathered(comm, mine))}
    return [found[cell] for cell in job.cells if cell in found]


def made_up(ranks: int, job: StepSizeStudy) -> dict[float, SyntheticRegression]:
    """Make the problems of so many ranks, in ascending order of the spreads of the whole job."""
    spreads = sorted({cell.spread for cell in job.cells})
    return make(ranks, job.rows, job.features, job.condition, spreads, job.seed)


def timed(cell: StepSizeCell, job: StepSizeStudy, problem: SyntheticRegression) -> StepSizeOutcome:
    """Run a cell and say so."""
    begin = time.perf_counter()
    outcome = solve(cell, job, problem)
    where = f"{cell.coordinator} {cell.form}, {time.perf_counter() - begin:.1f} s"
    print(f"{report.named(outcome)}  ({where})", flush=True)
    return outcome


def show(job: StepSizeStudy, found: list[StepSizeOutcome]) -> list[str]:
    """Print and write everything; give the names of the files."""
    if not found:
        print("no cell was run")
        return []
    judged = report.judge(found, job)
    print(f"\niterations/messages to {job.tol:g} of (F − F*)/(F(0) − F*), messages over all edges:\n")
    print(f"{report.table(found)}\n\n{report.facts_text(judged)}\n")
    from mpiopt.studies import page, storage
    from mpiopt.studies.stepsize.report import draw, story

    tree = tree_of(job, found, judged)
    written = files.write(job.out, tree, lambda path: draw(found, path))
    written += storage.write(f"{job.out}.h5", "stepsize", tree)
    return written + page.write(job.out, tree, story(job, found))


def tree_of(job: StepSizeStudy, found: list[StepSizeOutcome], judged: list[Fact]) -> dict[str, Any]:
    """Give all as plain values."""
    return {
        "job": {k: v for k, v in vars(job).items() if k != "cells"},
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found],
    }


def as_json(o: StepSizeOutcome) -> dict[str, Any]:
    """Give an outcome as plain values."""
    return {**vars(o), "cell": list(o.cell)}


def from_json(tree: dict[str, Any]) -> StepSizeOutcome:
    """Give the outcome back."""
    return StepSizeOutcome(**{**tree, "cell": StepSizeCell(*tree["cell"])})
