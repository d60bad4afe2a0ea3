"""The mpirun of this machine: which one it is, what it can do, and the flags that it needs."""

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
from typing import NamedTuple

from mpiopt.core.launcher_env import THREAD_VARIABLES, open_mpi_settings

OPEN_MPI, HYDRA, OTHER = "Open MPI", "MPICH", "an MPI that is not Open MPI"
ASK_HOST = "ssh -o BatchMode=yes -o ConnectTimeout=10"  # runs `true` on a host; MPIOPT_AGENT replaces it
ASK_NODE = "srun --overlap --nodes=1 --ntasks=1 --nodelist"  # the same on a node of an allocation of Slurm
ASK_HOST_SECONDS = 20.0  # a host that takes longer counts as lost
ASK_MPIRUN_SECONDS = 30.0  # for mpirun to print its version, or to start one process


class HostSlots(NamedTuple):
    """A host and the number of ranks that it takes."""

    name: str
    slots: int


Hosts = tuple[HostSlots, ...]


@dataclass(frozen=True)
class Mpirun:
    """A launcher: its command, the MPI that it belongs to, and whether jobs survive the loss of ranks (ULFM)."""

    program: tuple[str, ...]
    kind: str
    ulfm: bool
    cores: int
    release: int = 5  # the first number of Open MPI's version

    @property
    def description(self) -> str:
        """The launcher in words."""
        return f"{self.program[0]} ({self.kind}{', with ULFM' if self.ulfm else ''})"

    def command(self, ranks: int, hosts: Hosts, words: Sequence[str]) -> list[str]:
        """Return the command line that runs `mpiopt words` on `ranks` ranks."""
        # Without ULFM a rank that fails alone must end the others (mpi4py's runner does that); with it, it must not.
        python = [sys.executable, *([] if self.ulfm else ["-m", "mpi4py"]), "-m", "mpiopt"]
        names = ",".join(f"{host.name}:{host.slots}" for host in hosts)
        flags: list[str] = []
        # All ranks end with exit code 2 or 3 in an ordinary way, and write it into a file. Open MPI takes it for a
        # crash, unless it is told not to, and prints a report of it below our own line.
        quiet = ["--runtime-options", "error-nonzero-status=false"] if self._takes_runtime_options else []
        if self.kind == OPEN_MPI:
            flags += ["--with-ft", "ulfm"] if self.ulfm else []
            flags += ["--host", names] if names else []
            if not hosts and ranks > self.cores:
                flags += ["--oversubscribe"]
            if hosts or 2 * ranks > self.cores:  # else a rank and its helper threads may share one core
                flags += ["--bind-to", "none"]
        elif names:
            flags += ["-hosts", names]
        return [*self.program, *flags, "-n", str(ranks), *quiet, *python, *words]

    @property
    def _takes_runtime_options(self) -> bool:
        return self.kind == OPEN_MPI and self.release >= 5

    def environment(self, environment: Mapping[str, str], hosts: Hosts) -> dict[str, str]:
        """Return the environment of a job: our settings, overridden by those of the user."""
        settings = dict.fromkeys(THREAD_VARIABLES, "1")
        if self.kind == OPEN_MPI:
            settings |= open_mpi_settings(environment, os.geteuid() == 0)
            if self.ulfm:
                settings["OMPI_MCA_pml"] = "ob1"  # the only messaging layer of Open MPI that supports ULFM
            if in_allocation(environment):  # Slurm still counts the processors of a step that lost a node as used
                settings["SLURM_OVERLAP"] = "1"
            if not hosts and not any(name.startswith("SLURM_") for name in environment):
                shared_memory = "sm" if self.release >= 5 else "vader"  # renamed in Open MPI 5
                # Without the search for networks, a job on one host starts five times as fast.
                settings |= {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": f"self,{shared_memory}"}
        return settings | dict(environment)


def find(environment: Mapping[str, str], ulfm: str) -> Mpirun:
    """Find the mpirun that MPIEXEC names, else the one beside this Python, else the one in PATH.

    Raises
    ------
    ValueError
        If there is none, or `ulfm` is "on" and it does not support ULFM.
    """
    beside = Path(sys.executable).with_name("mpirun")
    named = environment.get("MPIEXEC") or (str(beside) if beside.exists() else shutil.which("mpirun") or "")
    if not named:
        raise ValueError(
            "launch: no mpirun was found beside this Python or in PATH; set MPIEXEC to the mpirun to use"
        )
    program = tuple(shlex.split(named))
    if not shutil.which(program[0]):
        raise ValueError(f"launch: {program[0]}: no such program; set MPIEXEC to the mpirun to use")
    version = output([*program, "--version"])
    kind = kind_of(version)
    supported = kind == OPEN_MPI and ulfm != "off" and supports_ulfm(program, environment)
    if ulfm == "on" and not supported:
        raise ValueError(f"launch: {named} does not take --with-ft ulfm; leave out --ulfm on")
    return Mpirun(program, kind, supported, len(os.sched_getaffinity(0)), release_of(version))


def kind_of(version: str) -> str:
    """Return the MPI that an mpirun belongs to, from what it prints for --version."""
    text = version.lower()
    if "open mpi" in text or "open-mpi" in text:
        return OPEN_MPI
    return HYDRA if text.startswith("hydra") else OTHER


def release_of(version: str) -> int:
    """Return the first number of Open MPI's version in what its mpirun prints; 5 if there is none."""
    match = re.search(r"\(Open MPI\) (\d+)\.", version)
    return int(match[1]) if match else 5


def supports_ulfm(program: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Start a process with ULFM, and return whether Open MPI confirms it in the variables of that process."""
    settings = dict(environment) | open_mpi_settings(environment, os.geteuid() == 0)
    return "OMPI_MCA_mpi_ft_enable=1" in output([*program, "--with-ft", "ulfm", "-n", "1", "env"], settings)


def output(command: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    """Return what a program prints; "" if it cannot be run or does not end in time."""
    try:
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=ASK_MPIRUN_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def in_allocation(environment: Mapping[str, str]) -> bool:
    """Return whether this process is the script of a Slurm job on several nodes, and not one of its ranks."""
    nodes = environment.get("SLURM_JOB_NUM_NODES", "")
    return nodes.isdigit() and int(nodes) > 1 and not environment.get("SLURM_STEP_ID", "").isdigit()


def allocated(environment: Mapping[str, str]) -> Hosts:
    """Return the nodes of the allocation with the ranks that Slurm lets each have; none outside of one."""
    if not in_allocation(environment):
        return ()
    names = output(["scontrol", "show", "hostnames", environment.get("SLURM_JOB_NODELIST", "")]).split()
    slots = [
        int(count)
        for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get("SLURM_TASKS_PER_NODE", ""))
        for _ in range(int(times or 1))
    ]
    return tuple(HostSlots(name, count) for name, count in zip(names, slots, strict=False))


def reachable(hosts: Hosts) -> Hosts:
    """Return the hosts that answer."""
    ask = shlex.split(os.environ.get("MPIOPT_AGENT") or (ASK_NODE if in_allocation(os.environ) else ASK_HOST))
    return tuple(host for host in hosts if succeeds([*ask, host.name, "true"]))


def succeeds(command: Sequence[str]) -> bool:
    """Return whether a command ends with exit code 0 in time."""
    try:
        return subprocess.run(command, capture_output=True, timeout=ASK_HOST_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
