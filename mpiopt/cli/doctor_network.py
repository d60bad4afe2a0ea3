"""The checks of `mpiopt doctor` of what lies between ranks: the network, and what MPI does when a rank dies."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from typing import cast

from mpiopt.cli.finding import Finding
from mpiopt.cluster import mpirun
from mpiopt.cluster.planning.link import Link, measure
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json

NUMBERS = 125_000  # of a measured message: 1 MB
SLOW = 50e6  # bytes a second between hosts; Ethernet of 1 Gbit/s has twice as much
ULFM_RANKS = 3  # one dies; two are needed to see who waits for whom
ULFM_SECONDS = 60.0  # for mpirun and the five facts; they take about 3, on a loaded machine more
HUNG = 20.0  # seconds after which ranks that wait for each other end themselves (`ulfm_facts.LIMIT`)
ADVICE = "they hang after a loss, or began late: try on an idle machine, else use launch --ulfm off"


def network(comm: Comm) -> Finding:
    """Measure what messages take between the ranks."""
    if comm.size == 1:
        return Finding("network", "one rank: nothing to measure")
    hosts = len(set(allgather_json(comm, platform.node())))
    return between(measure(NUMBERS, comm), comm.size, hosts)


def between(link: Link, ranks: int, hosts: int) -> Finding:
    """Return what was measured, and what to do where hosts are joined by less than a common Ethernet."""
    where = f"{ranks} ranks on {hosts} host{'s' if hosts > 1 else ''}"
    advice = ""
    if hosts > 1 and link.byte > 1.0 / SLOW:
        advice = (
            "ask which network MPI uses here (Open MPI: --mca btl_tcp_if_include NAME, or UCX); --compress sends less"
        )
    return Finding("network", f"{link.describe()}, between {where}", advice)


def ulfm(comm: Comm, write: Callable[[str], None]) -> int:
    """Try ULFM's facts on ranks of their own, and write a line for each; return 0 if all hold, else 2.

    Under mpirun the ranks are those of the call; the last one is killed, and the others end with this function.
    """
    if comm.size > 1:
        from mpiopt.comm.mpi.comm import MpiComm
        from mpiopt.comm.mpi.ulfm_facts import leave, try_facts

        facts = try_facts(cast(MpiComm, comm))
        if comm.rank == 0:
            print("\n".join(f"{'ok      ' if held else 'PROBLEM '} ULFM: {text}" for text, held in facts), flush=True)
        leave()
    found = mpirun.find(os.environ, "auto")
    if not found.ulfm:
        write(f"PROBLEM  ULFM: {found.description} has none; recovery in place needs Open MPI 5; launch starts again")
        return 2
    lines = tried(found)
    for line in lines:
        write(line)
    return 2 if any(line.startswith("PROBLEM") for line in lines) else 0


def tried(launcher: mpirun.Mpirun) -> list[str]:
    """Start ranks, one of which dies, and return their lines; one line if they did not end."""
    command = launcher.command(ULFM_RANKS, (), ["doctor", "--ulfm"])
    environment = launcher.environment(os.environ, ())
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=ULFM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"PROBLEM  ULFM: no answer in {ULFM_SECONDS:.0f} s; {ADVICE}"]
    lines = [line for line in done.stdout.splitlines() if " ULFM: " in line]
    if not lines and time.monotonic() - began >= HUNG:
        lines = [f"PROBLEM  ULFM: no answer before the ranks ended themselves (code {done.returncode}); {ADVICE}"]
    return lines or [
        f"PROBLEM  ULFM: the loss of a rank ended all of them (code {done.returncode}); launch starts again"
    ]
