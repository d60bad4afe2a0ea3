"""The study `decentralised`: run the cells, print tables and verdicts, write them as JSON and as a picture."""

from __future__ import annotations

import time
from typing import Any

from mpiopt.comm import Comm
from mpiopt.signals import Stop
from mpiopt.study import files
from mpiopt.study.decentralised import tables
from mpiopt.study.decentralised.cell import Outcome, solve
from mpiopt.study.decentralised.job import Cell, Study, build
from mpiopt.study.stepsize.tables import facts_text

__all__ = ["build", "run", "show"]


def run(job: Study, comm: Comm, stop: Stop) -> list[Outcome]:
    """Run this rank's cells, gather all; in the order of the job."""
    mine = []
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        mine.append(as_json(timed(cell, job)))
    found = {o.cell: o for o in map(from_json, files.gathered(comm, mine))}
    return [found[cell] for cell in job.cells if cell in found]


def timed(cell: Cell, job: Study) -> Outcome:
    """Run a cell and say so."""
    begin = time.perf_counter()
    outcome = solve(cell, job)
    print(f"{tables.said(outcome, min(job.tols))}  ({time.perf_counter() - begin:.1f} s)", flush=True)
    return outcome


def show(job: Study, found: list[Outcome]) -> list[str]:
    """Print and write everything; give the names of the files."""
    if not found:
        print("no cell was run")
        return []
    judged = tables.judge(found, job)
    for tol in job.tols:
        print(f"\niterations/epochs/messages over all edges/MB to {tol:g} of (F − F*)/(F(0) − F*), worst rank:\n")
        print(tables.table(found, tol))
    refused = dict.fromkeys(o.refused for o in found if o.refused)
    print("\n" + "\n".join([*(f"refused: {why}" for why in refused), facts_text(judged)]) + "\n")
    from mpiopt.study.decentralised.picture import draw

    tree: dict[str, Any] = {
        "job": {k: v for k, v in vars(job).items() if k != "cells"},
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found],
    }
    return files.write(job.out, tree, lambda path: draw(found, path))


def as_json(o: Outcome) -> dict[str, Any]:
    """Give an outcome as plain values."""
    return {**vars(o), "cell": list(o.cell)}


def from_json(tree: dict[str, Any]) -> Outcome:
    """Give the outcome back."""
    return Outcome(**{**tree, "cell": Cell(*tree["cell"])})
