"""The command `train`: from a data file to a certified model in a result file."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from mpiopt.comm.base import Assignment, Comm
from mpiopt.comm.collective_io import check_writable
from mpiopt.comm.membership import AGAIN, FixedMembership, run_elastic
from mpiopt.comm.oversubscription import oversubscribed
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Job, parse_interval, parse_io_hints
from mpiopt.core.exit_note import LAUNCHED
from mpiopt.core.history import Clock, HistoryRow, Progress, progress
from mpiopt.data.dataset import Dataset, prepare
from mpiopt.objective.losses.base import loss_targets
from mpiopt.objective.objective import Objective
from mpiopt.resilience.checkpoint.async_store import BackgroundCheckpoints
from mpiopt.resilience.checkpoint.store import Checkpoints, first_since
from mpiopt.resilience.deadline import Deadline
from mpiopt.resilience.recovery.base import make_recovery
from mpiopt.resilience.signals import StopSignal
from mpiopt.results import summary
from mpiopt.results.jsonl_log import Journal, journal
from mpiopt.results.result_file import RunCosts
from mpiopt.training import channel_setup
from mpiopt.training.channel_setup import open_channel
from mpiopt.training.job_args import agreed_job
from mpiopt.training.loop import RunPlan, run
from mpiopt.training.outcome import Finished, described, say, tables, write
from mpiopt.training.problem import pick, pose, target_of
from mpiopt.training.run_recovery import RunRecovery
from mpiopt.training.warmup import warm

SILENCE = 1.5  # seconds of compiling of which nothing is said
EXIT = {"certified": 0, "budget": 3}


def train(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Train as the command line and the job file say; give the exit code."""
    return outlive(comm, lambda ranks: agreed_job(words, ranks), stop)


def train_job(job: Job, comm: Comm, stop: StopSignal) -> int:
    """Train as the job says, the same on all ranks; give the exit code."""
    return outlive(comm, lambda ranks: job, stop)


def outlive(comm: Comm, job_on: Callable[[Comm], Job], stop: StopSignal) -> int:
    """Train on the ranks that stay alive, with the job that all of a communicator's ranks agree on."""
    keeper, membership = RunRecovery(), comm.membership or FixedMembership(comm)
    return run_elastic(
        membership, lambda ranks: spares_of(job_on, ranks), lambda post: live(job_on, post, stop, keeper)
    )


def live(job_on: Callable[[Comm], Job], post: Assignment, stop: StopSignal, keeper: RunRecovery) -> int:
    """Train, from the start or from what the keeper has kept of a life before; give the exit code."""
    began = time.perf_counter()
    comm = cast(Comm, post.comm)
    job = job_on(comm)
    recovery = make_recovery(job.recovery)
    keeper.begin(post, recovery, lambda line: say(job, comm, line))
    if keeper.vault.life > 1:
        stop.realign(comm)
    if post.lost and not recovery.goes_on:
        return AGAIN
    clock = Clock()
    channel_setup.check_words(job)
    check_writable(job.out, comm)
    if job.log:
        check_writable(job.log, comm)
    data = prepare(job.path, target_of(job.model), job.data, job.seed, comm, loss_targets())
    clock.add("load", time.perf_counter() - began)
    objective = pose(job.model, data.shard, data.target, data.classes)
    plan, store = make_plan(job, data, comm, keeper)
    stop.outside = Deadline(store.folder, os.environ) if comm.rank == 0 else None
    algorithm, why = pick(job.algorithm, objective, job.stop.tol, comm, job.compress.name)
    warm_up(objective, comm, lambda line: say(job, comm, line))
    channel, algorithm, how = open_channel(job, objective, algorithm, comm)
    say(job, comm, described(data, objective), why, *filter(None, (how, oversubscribed(comm))))
    warm_up_compressor(channel, objective)
    lines = progress(comm.rank, job.quiet, sys.stdout)
    log = journal(job.log, comm.rank, bool(job.resume) or keeper.vault.life > 1)
    started = time.perf_counter()
    now = run(plan, objective, algorithm, channel, stop, clock, lambda row: show(row, lines, job.stop.tol, log))
    spent = time.perf_counter() - started
    lines.end()
    account(clock, channel, spent)
    code = stop.exit_code if now.ending == "signal" else EXIT[now.ending]
    costs = RunCosts(channel.counts(), summary.times(clock, time.perf_counter() - began, comm))
    done = Finished(now, code, how, costs)
    store.check()
    quality = write(job, data, objective, done, comm)
    store.release(f"{now.ending}: {now.reason}", code)
    if data.test is not None:
        say(job, comm, f"{data.test.total} test rows: {summary.metrics_line(quality)}")
    tables(job, objective, done, channel)
    return code


def show(row: HistoryRow, lines: Progress, tolerance: float, log: Journal) -> None:
    """Say where the run is, to the terminal and to the log."""
    lines.show(row, tolerance)
    log.add(row)


def spares_of(job_on: Callable[[Comm], Job], ranks: Comm) -> int:
    """Give how many ranks are to wait; 0 where the job is wrong: the work will say so."""
    try:
        return job_on(ranks).spares
    except (ValueError, OSError):
        return 0


def make_plan(job: Job, data: Dataset, comm: Comm, keeper: RunRecovery) -> tuple[RunPlan, Checkpoints]:
    """Say when the run stops, saves, and whether it goes on from a checkpoint; claim the folder of checkpoints."""
    folder = Path(job.out).with_suffix(".ckpt")
    if job.resume not in ("", "auto"):
        folder = Path(job.resume) if job.resume.endswith(".ckpt") else Path(job.resume).with_suffix(".ckpt")
        comm.agree(None if folder.is_dir() else ValueError(f"--resume {job.resume}: there is no folder {folder}"))
    meta: dict[str, str | int | float] = {"job": f'data_checksum = "{data.checksum}"\n{job.identity()}'}
    meta["tol"] = job.stop.tol  # for `mpiopt status`
    if not (job.resume or keeper.saved):  # a launcher has started this job before
        keeper.saved = first_since(folder, float(os.environ.get(LAUNCHED, "inf")), comm)
    store = open_store(job, folder, comm)
    store.since = 0 if job.resume else keeper.saved
    store.claim()
    plan = RunPlan(job.stop, store, meta, parse_interval(job.checkpoint_every), bool(job.resume))
    return keeper.plan(plan, store, comm), store


def open_store(job: Job, folder: Path, comm: Comm) -> Checkpoints:
    """Give the checkpoints of a job, in the form that it wants."""

    def warn(line: str) -> None:
        say(job, comm, line)

    if job.checkpoint_form == "background":
        return BackgroundCheckpoints(folder, comm, warn)
    return Checkpoints(folder, comm, job.checkpoint_form, warn, parse_io_hints(job.io_hints))


def account(clock: Clock, channel: Channel, spent: float) -> None:
    """Share out the seconds of the loop that are not counted yet."""
    traffic = channel.traffic
    clock.add("communicate", traffic.seconds_communicate)
    clock.add("compress", traffic.seconds_compress)
    clock.add("wait", traffic.seconds_wait)
    others = sum(clock.seconds[name] for name in ("compress", "communicate", "wait", "evaluate", "checkpoint"))
    clock.add("compute", max(0.0, spent - others))


def warm_up(objective: Objective, comm: Comm, tell: Callable[[str], None]) -> None:
    """Compile the kernels on rank 0, then let the others find them in the cache; say so where it takes long."""
    if comm.rank == 0:
        told = threading.Timer(SILENCE, tell, ["compiling for this machine; the next run finds it done"])
        told.daemon = True
        told.start()
        try:
            warm(objective)
        finally:
            told.cancel()
    comm.barrier()


def warm_up_compressor(channel: Channel, objective: Objective) -> None:
    """Compile what compresses, as `warm_up` does."""
    if channel.compressor is not None and channel.rank == 0:
        for d in (8, objective.zeros().size):
            channel.compressor.decode(channel.compressor.encode(np.ones(d), 0), d)
    channel.comm.barrier()
