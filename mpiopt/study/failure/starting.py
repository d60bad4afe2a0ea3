"""A cell between real ranks: an mpirun of its own, whose ranks run `mpiopt serve`, and which may be killed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import mpiopt
from mpiopt.launch import open_mpi_settings
from mpiopt.study.failure.job import Study, plain

PATIENCE = 300.0  # seconds beyond the run, for starting and for judging


@dataclasses.dataclass
class Starter:
    """Starts the cells of a job."""

    job: Study

    def __post_init__(self) -> None:
        self.launcher = launcher()

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
            words = [*self.launcher, "-n", str(ranks), sys.executable, "-m", "mpiopt", "serve", str(described)]
            said = tried([*words, "--out", str(out)], self.job.seconds + PATIENCE)
            if not out.exists():  # the exit code of mpirun says little where ranks were killed
                raise OSError(f"cell {number} ({' '.join(map(str, cell))}) ended without a result: {said}")
            return json.loads(out.read_text())


def tried(words: list[str], limit: float) -> str:
    """Run a command; give the last line of what it said."""
    environment = dict(os.environ) | open_mpi_settings(os.environ, os.geteuid() == 0)
    here = str(Path(mpiopt.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    environment.setdefault("OMP_NUM_THREADS", "1")
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"it was stopped after {limit:.0f} s"
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def launcher() -> list[str]:
    """Give the words before `-n P`: with fault tolerance where Open MPI 5 is the MPI; MPIEXEC names another mpirun.

    Raises
    ------
    OSError
        Where no mpirun is found.
    """
    beside = Path(sys.executable).with_name("mpirun")
    chosen = os.environ.get("MPIEXEC") or (str(beside) if beside.exists() else shutil.which("mpirun"))
    if chosen is None:
        raise OSError("no mpirun beside this Python or in PATH; set MPIEXEC")
    words = chosen.split()
    said = subprocess.run([words[0], "--version"], capture_output=True, text=True, timeout=60).stdout
    if "Open MPI" not in said and "prterun" not in said.lower():
        return words
    room = ["--oversubscribe", "--bind-to", "none"]
    return [*words, *([] if ") 4." in said else ["--with-ft", "ulfm"]), *room]
