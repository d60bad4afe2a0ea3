"""Run the cells: in virtual time on the ranks of the study, or each under its own mpirun."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpiopt
from mpiopt.cluster.mpirun import find
from mpiopt.comm.base import Comm
from mpiopt.core.processes import end_all, ranks_of
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.cells import run_cells
from mpiopt.studies.failure.job import FailureCell, FailureStudy, plain, server_of
from mpiopt.studies.failure.outcome import VIRTUAL, FailureOutcome, from_plain, outcome
from mpiopt.studies.parameter_server.runtime.examples import Sets
from mpiopt.studies.parameter_server.runtime.host import actors_of
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.runtime.virtual import VirtualWorld

PATIENCE = 300.0  # seconds beyond the run, for the start and for the evaluation
ENDING = 20.0  # seconds that mpirun gets after all its ranks have ended; it may hang if ranks were killed
POLL = 0.2  # seconds between two checks of the processes
MARK = "MPIOPT_CELL"


def run(job: FailureStudy, comm: Comm, stop: StopSignal) -> list[FailureOutcome]:
    """Run the cells and return the outcomes of all ranks, in the order of the job.

    Raises
    ------
    ValueError
        If the data do not fit the network, or if `mode` is "processes" and the study itself runs under mpirun.
    """
    if job.mode == "processes":
        return launch_cells(job, comm, stop)
    with comm.agree_on_errors():
        sets = job.sets()
    return run_cells(job.cells, lambda cell: simulate(cell, job, sets), describe, comm, stop)


def simulate(cell: FailureCell, job: FailureStudy, sets: Sets) -> FailureOutcome:
    """Run a cell in virtual time in this process: the same bits every time."""
    task, view = job.task(cell, sets), job.view(cell)
    world = VirtualWorld(view, actors_of(server_of(cell), task), job.timing, job.costs, job.evaluate)
    log = world.run(job.plan(cell))
    return outcome(cell, log, task, sets.test, VIRTUAL, len(view.places) - len(view.with_role(Role.SPARE)) - 1)


def launch_cells(job: FailureStudy, comm: Comm, stop: StopSignal) -> list[FailureOutcome]:
    """Start an mpirun for each cell, one after the other; a cell without a result is reported and left out."""
    if comm.size > 1:
        raise ValueError('mode = "processes" starts an mpirun for each cell: start the study without mpirun')
    launcher = CellLauncher(job)

    def launch(cell: FailureCell) -> FailureOutcome | None:
        try:
            return from_plain(launcher.start(cell))
        except OSError as error:
            print(error, flush=True)
            return None

    return run_cells(job.cells, launch, describe, comm, stop)


def describe(o: FailureOutcome, seconds: float) -> str:
    """Return the progress line of a cell."""
    return f"{o.text}, {seconds:.0f} s"


@dataclass
class CellLauncher:
    """Starts the cells of a job, each under its own mpirun.

    Raises
    ------
    ValueError
        If no mpirun is found.
    """

    job: FailureStudy

    def __post_init__(self) -> None:
        self.mpirun = find(os.environ, "auto")

    def start(self, cell: FailureCell) -> Any:
        """Run a cell and return its outcome as plain values.

        Raises
        ------
        OSError
            If the cell ends without an outcome; the message holds the last line of its output.
        """
        with tempfile.TemporaryDirectory(prefix="mpiopt-failure-") as folder:
            described, out = Path(folder, "job.json"), Path(folder, "out.json")
            described.write_text(json.dumps({**plain(self.job), "cells": [list(cell)]}))
            ranks = len(self.job.view(cell).places)
            words = self.mpirun.command(ranks, (), ["serve", str(described), "--out", str(out)])
            last_line = launch(words, self.variables(folder), self.job.seconds + PATIENCE, Path(folder, "log"))
            if not out.exists():  # the exit code of mpirun says little if ranks were killed
                raise OSError(f"cell {cell.text} ended without a result: {last_line}")
            return json.loads(out.read_text())

    def variables(self, folder: str) -> dict[str, str]:
        """Return the environment of a cell, with a mark by which its processes are found."""
        here = str(Path(mpiopt.__file__).parents[1])
        path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        return self.mpirun.environment(os.environ, ()) | {"PYTHONPATH": path, MARK: folder}


def launch(words: list[str], variables: dict[str, str], limit: float, log: Path) -> str:
    """Run mpirun until it or all of its ranks have ended, or to the limit; return the last line of its output."""
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=variables, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        ended = wait(process, limit)
    finally:
        end_all(process, f"{MARK}={variables[MARK]}")
    if not ended:
        return f"it was stopped after {limit:.0f} s"
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {process.returncode}"


def wait(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Wait for the end of mpirun; return False if the limit in seconds came first."""
    began = last_alive = time.monotonic()
    started = False
    while (now := time.monotonic()) - began < limit:
        try:
            process.wait(POLL)
            return True
        except subprocess.TimeoutExpired:
            alive = bool(ranks_of(process.pid))
        started |= alive
        last_alive = now if alive or not started else last_alive
        if now - last_alive > ENDING:
            return True
    return False
