"""Start programs on several ranks of this machine, and find the communicator inside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mpiopt.comm.base import Comm

ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,sm",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}


def mpirun_line(ranks: int, *words: str) -> list[str]:
    """Return the command that runs a Python program on `ranks` processes."""
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if beside.exists() else str(shutil.which("mpirun"))
    start = [found, "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    return [*start, sys.executable, "-m", "mpi4py", *words]


def output_of(line: list[str], seconds: float = 600.0, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command and return what it prints.

    Raises
    ------
    RuntimeError
        If it ends with an exit code that is not in `codes`; the message has the end of its errors.
    """
    done = subprocess.run(
        line,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode not in codes:
        raise RuntimeError(f"{' '.join(line)}: code {done.returncode}: {done.stderr[-300:]}")
    return done.stdout


def mpirun(ranks: int, *words: str, seconds: float = 600.0, codes: tuple[int, ...] = (0,)) -> str:
    """Run a Python program on `ranks` processes and return what it prints."""
    return output_of(mpirun_line(ranks, *words), seconds, codes)


def world() -> Comm:
    """Return a duplicate of MPI's world."""
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    return MpiComm(MPI.COMM_WORLD.Dup())
