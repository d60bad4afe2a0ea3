"""Ask Slurm about jobs. Without Slurm, or if it does not answer, the answers are empty."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterable, Mapping
from datetime import datetime

# A preempted job that is requeued is PENDING in the queue; one that stays PREEMPTED has ended.
WAITING = frozenset(("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"))
RUNNING = frozenset(("RUNNING", "SUSPENDED", "STOPPED", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING"))
SECONDS = 20.0  # that Slurm may take to answer


def ask(*words: str) -> list[str]:
    """Return the lines that one of Slurm's programs prints; none if it cannot be run, or fails."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def states(jobs: Iterable[str]) -> dict[str, str]:
    """Return the states of jobs: from the queue, or from accounting if they have left the queue."""
    wanted = set(jobs)
    if not wanted:
        return {}
    found = pairs(ask("squeue", "-h", "-t", "all", "-u", str(os.getuid()), "-o", "%A|%T"))
    missing = sorted(wanted - found.keys())
    if missing:
        kept = pairs(ask("sacct", "-n", "-X", "-P", "-j", ",".join(missing), "-o", "JobIDRaw,State"))
        found = {job: state.split()[0] for job, state in kept.items() if state} | found
    return {job: state for job, state in found.items() if job in wanted}


def pairs(lines: Iterable[str]) -> dict[str, str]:
    """Read `job|state` lines."""
    return {job.strip(): state.strip() for job, bar, state in (line.partition("|") for line in lines) if bar}


def end(environment: Mapping[str, str]) -> float:
    """Return when the time limit of this process's job ends, in seconds since 1970; infinity if it is not known."""
    stated = environment.get("SLURM_JOB_END_TIME", "")
    if stated.isdigit():
        return float(stated)
    return asked_end(environment)


def asked_end(environment: Mapping[str, str]) -> float:
    """Ask the queue when the time limit ends: it may have been extended."""
    job = environment.get("SLURM_JOB_ID", "")
    lines = ask("squeue", "-h", "-j", job, "-o", "%e") if job else []
    try:
        return datetime.fromisoformat(lines[0].strip()).timestamp()
    except (IndexError, ValueError):  # no limit, or no answer
        return math.inf
