"""Run a cell between real ranks: its own mpirun starts `mpiopt serve`, whose ranks may be killed."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import mpiopt
from mpiopt.cluster.mpirun import find
from mpiopt.core.processes import end_all, ranks_of
from mpiopt.studies.failure.job import FailureCell, FailureStudy, plain

PATIENCE = 300.0  # seconds beyond the run, for the start and for the evaluation
ENDING = 20.0  # seconds that mpirun gets after all its ranks have ended; it may hang if ranks were killed
POLL = 0.2  # seconds between two checks of the processes
MARK = "MPIOPT_CELL"


@dataclasses.dataclass
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
