"""A cell between real ranks: an mpirun of its own, whose ranks run `mpiopt serve`, and which may be killed."""

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
from mpiopt.studies.failure.job import FailureStudy, plain

PATIENCE = 300.0  # seconds beyond the run, for starting and for judging
ENDING = 20.0  # seconds for an mpirun whose ranks have all ended: it may hang where they were killed
LOOK = 0.2  # seconds between two looks
MARK = "MPIOPT_CELL"


@dataclasses.dataclass
class Starter:
    """Starts the cells of a job.

    Raises
    ------
    ValueError
        Where no mpirun is found.
    """

    job: FailureStudy

    def __post_init__(self) -> None:
        self.mpirun = find(os.environ, "auto")

    def start(self, number: int) -> Any:
        """Run a cell; give its outcome as plain values.

        Raises
        ------
        OSError
            Where it ends without one; with the last line of what it said.
        """
        cell = self.job.cells[number]
        with tempfile.TemporaryDirectory(prefix="mpiopt-failure-") as folder:
            described, out = Path(folder, "job.json"), Path(folder, "out.json")
            described.write_text(json.dumps({**plain(self.job), "cells": [list(cell)]}))
            ranks = len(self.job.view(cell).places)
            words = self.mpirun.command(ranks, (), ["serve", str(described), "--out", str(out)])
            said = tried(words, self.variables(folder), self.job.seconds + PATIENCE, Path(folder, "said"))
            if not out.exists():  # the exit code of mpirun says little where ranks were killed
                raise OSError(f"cell {number} ({' '.join(map(str, cell))}) ended without a result: {said}")
            return json.loads(out.read_text())

    def variables(self, folder: str) -> dict[str, str]:
        """Give the environment of a cell, with a mark by which its processes are found."""
        here = str(Path(mpiopt.__file__).parents[1])
        path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        return self.mpirun.environment(os.environ, ()) | {"PYTHONPATH": path, MARK: folder}


def tried(words: list[str], variables: dict[str, str], limit: float, log: Path) -> str:
    """Run a launcher until it or all of its ranks have ended, or to the limit; give the last line of what it said."""
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=variables, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        ended = watched(process, limit)
    finally:
        end_all(process, f"{MARK}={variables[MARK]}")
    if not ended:
        return f"it was stopped after {limit:.0f} s"
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {process.returncode}"


def watched(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Wait; give False where the limit came first."""
    began = since = time.monotonic()
    seen = False
    while (now := time.monotonic()) - began < limit:
        try:
            process.wait(LOOK)
            return True
        except subprocess.TimeoutExpired:
            left = bool(ranks_of(process.pid))
        seen |= left
        since = now if left or not seen else since
        if now - since > ENDING:
            return True
    return False
