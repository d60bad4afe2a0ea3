"""The command `sweep`: one job file, a grid of values for some of its keys, a result for each member of the grid.

    path = "a9a"
    out = "runs/a9a"                  # a folder; default: runs/ and the name of the job file

    [sweep]                           # every key of a job, each with a list; [[sweep]] twice: both grids
    l2 = [1e-2, 1e-3, 1e-4]
    compress = ["none", "quantised[levels=7]"]
    seed = [0, 1]

A member whose result is there and certified is not computed again, one that was cut off goes on from its checkpoint.
So the command may be given again at any time, on all members in turn or, with --task, on one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from mpiopt import jobfile
from mpiopt.comm import Comm
from mpiopt.flags import parse
from mpiopt.grid import OURS, Member, Sweep, finished, found_in, read
from mpiopt.job import Job
from mpiopt.shared import shared_text
from mpiopt.signals import Stop


def sweep(words: Sequence[str], comm: Comm, stop: Stop) -> int:
    """Run all members in turn, or one; count them; or make the table of their results."""
    _, settings = parse(words, {**jobfile.flags(), **OURS})
    asked = dict(settings)
    text = shared_text(comm, lambda: json.dumps(read(words)))
    whole = found_in(*json.loads(text))
    if "count" in asked:
        print(len(whole.members))
        return 0
    if "collect" in asked:
        from mpiopt.collect import collect

        return collect(whole)
    return run(picked(whole, asked.get("task")), comm, stop)


def picked(whole: Sweep, task: str | None) -> tuple[Member, ...]:
    """Give the members to run: one, or all."""
    if task is None:
        return whole.members
    if not task.isdigit() or int(task) >= len(whole.members):
        raise ValueError(f"--task is a number from 0 to {len(whole.members) - 1}, not {task!r}")
    return (whole.members[int(task)],)


def run(members: Sequence[Member], comm: Comm, stop: Stop) -> int:
    """Train what is not there yet; a member that is refused does not stop the others. Give the gravest exit code."""
    from mpiopt.train import train_job

    codes = [0]
    for member in members:
        told = " ".join(f"{key}={value}" for key, value in member.chosen.items())
        try:
            there = known(member.job, comm)
            if comm.rank == 0 and not member.job.quiet:
                print(f"{told}: {'is there' if there else member.job.out}", flush=True)
            codes.append(0 if there else train_job(member.job, comm, stop))
        except (ValueError, OSError) as error:
            if len(members) == 1:
                raise
            if comm.rank == 0:
                print(f"{told}: refused: {error}", flush=True)
            codes.append(2)
        if stop.exit_code:
            return stop.exit_code
    return next(code for code in (2, 3, 0) if code in codes)


def known(job: Job, comm: Comm) -> bool:
    """Say, on all ranks, whether a job is done; collective."""
    return bool(shared_text(comm, lambda: "yes" if finished(job) else ""))
