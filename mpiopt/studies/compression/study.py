"""The study `compression`: run the panels, print the tables and verdicts, write them as JSON and as a picture."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies import files
from mpiopt.studies.compression import covariances, report, rows, streams
from mpiopt.studies.compression.cells import CompressionCell, pairs
from mpiopt.studies.compression.methods import matched
from mpiopt.studies.compression.panel import CompressionStudy, Panel, build
from mpiopt.studies.compression.prediction import predict
from mpiopt.studies.compression.simulation import SampleSource, gamma_of, marks_of, simulate

__all__ = ["build", "run", "show"]

Curves = dict[str, list[list[float]]]  # "panel run" to the lanes' curves


class PanelRun(NamedTuple):
    """A run of a panel."""

    panel: Panel
    source: SampleSource
    run: int


def run(job: CompressionStudy, comm: Comm, stop: StopSignal) -> list[CompressionCell]:
    """Run this rank's share of all runs of all panels on its threads, gather the curves, predict."""
    sources = opened(job, comm)
    tasks = [PanelRun(p, source, r) for p, source in sources for r in range(p.runs)]
    mine = tasks[comm.rank :: comm.size]
    with ThreadPoolExecutor(job.threads or max(1, (os.cpu_count() or 1) // comm.size)) as pool:
        done = list(pool.map(lambda task: timed(task, job, stop), mine))
    curves = {(name, r): lanes for name, r, lanes in files.gathered(comm, [d for d in done if d])}
    if comm.rank:
        return []
    found = []
    for panel, source in sources:
        runs = [curves[panel.name, r] for r in range(panel.runs) if (panel.name, r) in curves]
        found += cells(panel, source, runs, job.seed) if runs else []
    return found


def opened(job: CompressionStudy, comm: Comm) -> list[tuple[Panel, SampleSource]]:
    """Make or read the clients of each panel; a panel whose file is absent is skipped, and rank 0 says so."""
    found: list[tuple[Panel, SampleSource]] = []
    for panel in job.panels:
        try:
            found.append((panel, rows.read(panel, job.folder) if panel.data else streams.make(panel, job.seed)))
        except OSError as error:
            if comm.rank == 0:
                print(f"{panel.name}: skipped, {error}", flush=True)
    return found


def timed(task: PanelRun, job: CompressionStudy, stop: StopSignal) -> list[Any]:
    """Do a run and say so; nothing after a signal."""
    if stop.level:
        return []
    begin = time.perf_counter()
    lanes = simulate(task.panel, task.source, job.seed, task.run)
    print(f"{task.panel.name}, run {task.run + 1}: {time.perf_counter() - begin:.1f} s", flush=True)
    return [task.panel.name, task.run, [lane.curve for lane in lanes]]


def cells(panel: Panel, source: SampleSource, runs: Sequence[list[list[float]]], seed: int) -> list[CompressionCell]:
    """Give the cells of a panel: all runs of each lane beside the prediction."""
    methods = {m.name: m for m in matched(len(source.best), panel.levels)}
    marks, made = marks_of(panel.iterations), []
    for i, (name, memory) in enumerate(panel.lanes()):
        gamma = gamma_of(panel, source, methods[name])
        p = predict(source, methods[name], memory, gamma, marks, seed)
        curves = [lanes[i] for lanes in runs]
        predicted = (p.closed.tolist(), p.grown.tolist(), p.spread)
        made.append(CompressionCell(panel, name, memory, gamma, methods[name].omega, marks, curves, *predicted))
    return made


def show(job: CompressionStudy, found: list[CompressionCell]) -> list[str]:
    """Print and write everything; give the names of the files."""
    if not found:
        print("no panel could be run")
        return []
    print(f"\n{report.HEAD}\n\n{report.table(found)}\n\n{report.verdicts(found)}\n")
    if job.covariances:
        print(f"{covariances.table(covariances.measure(job.covariances), job.covariances)}\n")
    from mpiopt.studies import page, storage
    from mpiopt.studies.compression.report import draw, story

    tree = tree_of(job, found)
    written = files.write(job.out, tree, lambda path: draw(found, path))
    written += storage.write(f"{job.out}.h5", "compression", tree)
    return written + page.write(job.out, tree, story(job, found))


def tree_of(job: CompressionStudy, found: list[CompressionCell]) -> dict[str, Any]:
    """Give all as plain values."""
    from mpiopt.studies.compression.report import judge

    return {
        "job": {k: v for k, v in vars(job).items() if k != "panels"},
        "facts": [{"fact": f.letter, "claim": f.claim, "verdict": f.verdict, "items": f.items} for f in judge(found)],
        "panels": [vars(panel) | known(panel) for panel in job.panels],
        "cells": [
            vars(c)
            | {"panel": c.panel.name, "measured": c.measured, "predicted": c.predicted}
            | {"low": c.low, "high": c.high, "verdict": c.verdict}
            for c in found
        ],
        "orderings": [{"source": p.source, "holds": p.holds, "tied": p.tied, "text": p.text} for p in pairs(found)],
    }


def known(panel: Panel) -> dict[str, list[float | None]]:
    """Give the authors' figures with null for NaN."""
    rows_ = {"authors": panel.authors, "authors_memory": panel.authors_memory}
    return {name: [x if x == x else None for x in row] for name, row in rows_.items()}
