"""The study `decentralised`: run the cells, print tables and verdicts, write them as JSON and as a picture."""

from __future__ import annotations

import time
from typing import Any

from mpiopt.comm.base import Comm
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies import files
from mpiopt.studies.decentralised import report
from mpiopt.studies.decentralised.cell import DecentralisedOutcome, solve
from mpiopt.studies.decentralised.job import DecentralisedCell, DecentralisedStudy, build
from mpiopt.studies.stepsize.report import facts_text

__all__ = ["build", "run", "show"]


def run(job: DecentralisedStudy, comm: Comm, stop: StopSignal) -> list[DecentralisedOutcome]:
    """Run this rank's cells, gather all; in the order of the job."""
    mine = []
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        mine.append(as_json(timed(cell, job)))
    found = {o.cell: o for o in map(from_json, files.gathered(comm, mine))}
    return [found[cell] for cell in job.cells if cell in found]


def timed(cell: DecentralisedCell, job: DecentralisedStudy) -> DecentralisedOutcome:
    """Run a cell and say so."""
    begin = time.perf_counter()
    outcome = solve(cell, job)
    print(f"{report.said(outcome, min(job.tols))}  ({time.perf_counter() - begin:.1f} s)", flush=True)
    return outcome


def show(job: DecentralisedStudy, found: list[DecentralisedOutcome]) -> list[str]:
    """Print and write everything; give the names of the files."""
    if not found:
        print("no cell was run")
        return []
    judged = report.judge(found, job)
    for tol in job.tols:
        print(f"\niterations/epochs/messages over all edges/MB to {tol:g} of (F − F*)/(F(0) − F*), worst rank:\n")
        print(report.table(found, tol))
    refused = dict.fromkeys(o.refused for o in found if o.refused)
    print("\n" + "\n".join([*(f"refused: {why}" for why in refused), facts_text(judged)]) + "\n")
    from mpiopt.studies.decentralised.report import draw

    tree: dict[str, Any] = {
        "job": {k: v for k, v in vars(job).items() if k != "cells"},
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found],
    }
    from mpiopt.studies import page, storage
    from mpiopt.studies.decentralised.report import story

    written = files.write(job.out, tree, lambda path: draw(found, path))
    written += storage.write(f"{job.out}.h5", "decentralised", tree)
    return written + page.write(job.out, tree, story(job, found))


def as_json(o: DecentralisedOutcome) -> dict[str, Any]:
    """Give an outcome as plain values."""
    return {**vars(o), "cell": list(o.cell)}


def from_json(tree: dict[str, Any]) -> DecentralisedOutcome:
    """Give the outcome back."""
    return DecentralisedOutcome(**{**tree, "cell": DecentralisedCell(*tree["cell"])})
