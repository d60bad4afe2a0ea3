"""The study `saga-facts`: run the grid, print the tables and the verdicts, write them as JSON and as a picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies import files
from mpiopt.studies.saga_facts import report
from mpiopt.studies.saga_facts.cell import EVERY, CurvePoint, SagaOutcome, solve
from mpiopt.studies.saga_facts.job import SagaCell, SagaStudy, build
from mpiopt.studies.saga_facts.synthetic import SyntheticProblem, make
from mpiopt.studies.verdicts import Fact

__all__ = ["build", "run", "show"]


def run(job: SagaStudy, comm: Comm, stop: StopSignal) -> report.Outcomes:
    """Run this rank's cells, gather all; in the order of the job."""
    problem = make(job.rows, job.features, job.ridge, job.seed)
    mine = {}
    for cell in job.cells[comm.rank :: comm.size]:
        if stop.level:
            break
        mine[cell] = timed(cell, job, problem)
    found = {o.cell: o for o in map(from_json, files.gathered(comm, [as_json(o) for o in mine.values()]))}
    return report.Outcomes(found[cell] for cell in job.cells if cell in found)


def timed(cell: SagaCell, job: SagaStudy, problem: SyntheticProblem) -> SagaOutcome:
    """Run a cell and say so."""
    begin = time.perf_counter()
    outcome = solve(cell, job, problem)
    print(report.one_line(outcome, time.perf_counter() - begin), flush=True)
    return outcome


def show(job: SagaStudy, found: report.Outcomes) -> list[str]:
    """Print and write everything; give the names of the files."""
    judged = report.judge(found)
    print("\nepochs/rounds to the tolerance, best step, median run; or the suboptimality after the budget:\n")
    print(report.epochs_table(found, job))
    print(f"\nlinear rate, ln of the suboptimality over epochs, looks every {EVERY} epochs or every round:\n")
    print(report.rates_table(found))
    print(f"\n{report.facts_text(judged)}\n")
    from mpiopt.studies import page, storage
    from mpiopt.studies.saga_facts.report import draw, story

    tree = tree_of(job, found, judged)
    written = files.write(job.out, tree, lambda path: draw(found, path))
    written += storage.write(f"{job.out}.h5", "saga-facts", tree)
    return written + page.write(job.out, tree, story(job, found))


def tree_of(job: SagaStudy, found: report.Outcomes, judged: Sequence[Fact]) -> dict[str, Any]:
    """Give all as plain values."""
    return {
        "job": {k: v for k, v in vars(job).items() if k != "cells"},
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judged],
        "cells": [as_json(o) for o in found.by_cell.values()],
    }


def as_json(o: SagaOutcome) -> dict[str, Any]:
    """Give an outcome as plain values; the rate is for readers only."""
    rate = {k: v if np.isfinite(v) else None for k, v in o.rate._asdict().items()}
    return {**vars(o), "cell": list(o.cell), "trace": [list(p) for p in o.trace], "rate": rate}


def from_json(tree: dict[str, Any]) -> SagaOutcome:
    """Give the outcome back."""
    fields = {k: v for k, v in tree.items() if k != "rate"}
    cell, trace = SagaCell(*tree["cell"]), [CurvePoint(*p) for p in tree["trace"]]
    return SagaOutcome(**{**fields, "cell": cell, "trace": trace, "spread": tuple(tree["spread"])})
