"""The mpirun of this machine: which one, what it can do, and the flags that it wants."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpiopt.core.launcher_env import THREAD_VARIABLES, open_mpi_settings

Hosts = tuple[tuple[str, int], ...]  # name and ranks that it takes
OPEN_MPI, HYDRA, OTHER = "Open MPI", "MPICH", "an MPI that is not Open MPI"
AGENT = "ssh -o BatchMode=yes -o ConnectTimeout=10"  # asks a host whether it is there; MPIOPT_AGENT


@dataclass(frozen=True)
class Mpirun:
    """A launcher: its command, whose it is, and whether jobs may outlive their ranks."""

    program: tuple[str, ...]
    kind: str
    ulfm: bool
    cores: int
    release: int = 5  # the first number of Open MPI's version

    @property
    def told(self) -> str:
        """The launcher in words."""
        return f"{self.program[0]} ({self.kind}{', with ULFM' if self.ulfm else ''})"

    def command(self, ranks: int, hosts: Hosts, words: Sequence[str]) -> list[str]:
        """Give the command line that runs `mpiopt words` on so many ranks."""
        # Without ULFM a rank that fails alone must end the others; with it, it must not.
        python = [sys.executable, *([] if self.ulfm else ["-m", "mpi4py"]), "-m", "mpiopt"]
        names = ",".join(f"{name}:{slots}" for name, slots in hosts)
        flags: list[str] = []
        if self.kind == OPEN_MPI:
            flags += ["--with-ft", "ulfm"] if self.ulfm else []
            flags += ["--host", names] if names else []
            if not hosts and ranks > self.cores:
                flags += ["--oversubscribe"]
            if hosts or 2 * ranks > self.cores:  # else a rank and its helper threads may share one core
                flags += ["--bind-to", "none"]
        elif names:
            flags += ["-hosts", names]
        return [*self.program, *flags, "-n", str(ranks), *python, *words]

    def environment(self, environment: Mapping[str, str], hosts: Hosts) -> dict[str, str]:
        """Give the variables of a job; what the user has set stays."""
        wanted = dict.fromkeys(THREAD_VARIABLES, "1")
        if self.kind == OPEN_MPI:
            wanted |= open_mpi_settings(environment, os.geteuid() == 0)
            if self.ulfm:
                wanted["OMPI_MCA_pml"] = "ob1"  # the one that survives
            if not hosts and not any(name.startswith("SLURM_") for name in environment):
                shared = "sm" if self.release >= 5 else "vader"  # of the same host, by the name of its time
                wanted |= {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": f"self,{shared}"}  # starts five times as fast
        return wanted | dict(environment)


def find(environment: Mapping[str, str], ulfm: str) -> Mpirun:
    """Find the mpirun beside this Python, or in PATH; MPIEXEC names another.

    Raises
    ------
    ValueError
        If there is none, or `ulfm` is "on" and it cannot do that.
    """
    beside = Path(sys.executable).with_name("mpirun")
    named = environment.get("MPIEXEC") or (str(beside) if beside.exists() else shutil.which("mpirun") or "")
    if not named:
        raise ValueError("launch: there is no mpirun beside this Python or in PATH; MPIEXEC may name one")
    program = tuple(shlex.split(named))
    if not shutil.which(program[0]):
        raise ValueError(f"launch: {program[0]}: there is no such program; MPIEXEC names the mpirun to use")
    version = output([*program, "--version"])
    kind = kind_of(version)
    able = kind == OPEN_MPI and ulfm != "off" and survives(program, environment)
    if ulfm == "on" and not able:
        raise ValueError(f"launch: {named} does not take --with-ft ulfm; leave out --ulfm on")
    return Mpirun(program, kind, able, len(os.sched_getaffinity(0)), release_of(version))


def kind_of(version: str) -> str:
    """Say whose an mpirun is, by what it prints for --version."""
    told = version.lower()
    if "open mpi" in told or "open-mpi" in told:
        return OPEN_MPI
    return HYDRA if told.startswith("hydra") else OTHER


def release_of(version: str) -> int:
    """Give the first number of Open MPI's version in what its mpirun prints; 5 where there is none."""
    found = re.search(r"\(Open MPI\) (\d+)\.", version)
    return int(found[1]) if found else 5


def survives(program: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Say whether this Open MPI lets jobs outlive their ranks: it says so in the variables of one that it starts."""
    settings = dict(environment) | open_mpi_settings(environment, os.geteuid() == 0)
    return "OMPI_MCA_mpi_ft_enable=1" in output([*program, "--with-ft", "ulfm", "-n", "1", "env"], settings)


def output(command: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    """Give what a program prints; nothing where it cannot be run or takes half a minute."""
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def alive(hosts: Hosts) -> Hosts:
    """Give the hosts that answer."""
    agent = shlex.split(os.environ.get("MPIOPT_AGENT", AGENT))
    return tuple((name, slots) for name, slots in hosts if answers([*agent, name, "true"]))


def answers(command: Sequence[str]) -> bool:
    """Say whether a command succeeds within 20 s."""
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
