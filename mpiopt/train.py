"""The command `train`: from a data file to a certified model in a result file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from mpiopt import compression, jobfile, report
from mpiopt.channel import Channel
from mpiopt.comm import Comm
from mpiopt.compression import open_channel
from mpiopt.crew import AGAIN, Post, Steady, survive
from mpiopt.crowding import crowded
from mpiopt.dataset import Dataset, prepare
from mpiopt.deadline import Deadline
from mpiopt.ended import LAUNCHED
from mpiopt.fitted import in_file_units
from mpiopt.flags import Settings, parse
from mpiopt.hdf5 import BackgroundCheckpoints, Checkpoints, Costs, check_writable, first_since, write_result
from mpiopt.job import Job, every, hints_of
from mpiopt.journal import Journal, journal
from mpiopt.keeper import Keeper
from mpiopt.kernels.warm import warm
from mpiopt.metrics import metrics
from mpiopt.objective import Objective
from mpiopt.overwriting import refuse_onto
from mpiopt.problem import pick, pose, target_of
from mpiopt.provenance import Provenance, gather
from mpiopt.recorder import Clock, Progress, Row, progress
from mpiopt.recovery import make_recovery
from mpiopt.runner import Plan, Run, run
from mpiopt.selection import written
from mpiopt.shared import shared_text
from mpiopt.signals import Stop

SUFFIXES = {".gz", ".bz2", ".svm", ".libsvm", ".svmlight", ".txt", ".csv", ".npy", ".npz", ".h5", ".hdf5"}
EXIT = {"certified": 0, "budget": 3}
STATUS = {"certified": "certified", "budget": "NOT certified, budget spent", "signal": "NOT certified, stopped"}


def train(words: Sequence[str], comm: Comm, stop: Stop) -> int:
    """Train as the command line and the job file say; give the exit code."""
    return outlive(comm, lambda ranks: agreed_job(words, ranks), stop)


def train_job(job: Job, comm: Comm, stop: Stop) -> int:
    """Train as the job says, the same on all ranks; give the exit code."""
    return outlive(comm, lambda ranks: job, stop)


def outlive(comm: Comm, job_on: Callable[[Comm], Job], stop: Stop) -> int:
    """Train on the ranks that stay alive, with the job that all of a communicator's ranks agree on."""
    keeper, crew = Keeper(), getattr(comm, "crew", None) or Steady(comm)
    return survive(crew, lambda ranks: spares_of(job_on, ranks), lambda post: live(job_on, post, stop, keeper))


def live(job_on: Callable[[Comm], Job], post: Post, stop: Stop, keeper: Keeper) -> int:
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
    compression.check_words(job)
    check_writable(job.out, comm)
    if job.log:
        check_writable(job.log, comm)
    data = prepare(job.path, target_of(job.model), job.data, job.seed, comm)
    clock.add("load", time.perf_counter() - began)
    objective = pose(job.model, data.shard, data.target, data.classes)
    plan, store = make_plan(job, data, comm, keeper)
    stop.outside = Deadline(store.folder, os.environ) if comm.rank == 0 else None
    algorithm, why = pick(job.algorithm, objective, job.stop.tol, comm, job.compress.name)
    warm_up(objective, comm)
    channel, algorithm, how = open_channel(job, objective, algorithm, comm)
    say(job, comm, described(data, objective), why, *filter(None, (how, crowded(comm))))
    warm_up_compressor(channel, objective)
    lines = progress(comm.rank, job.quiet, sys.stdout)
    log = journal(job.log, comm.rank, bool(job.resume) or keeper.vault.life > 1)
    started = time.perf_counter()
    now = run(plan, objective, algorithm, channel, stop, clock, lambda row: show(row, lines, job.stop.tol, log))
    spent = time.perf_counter() - started
    lines.end()
    account(clock, channel, spent)
    code = stop.exit_code if now.ending == "signal" else EXIT[now.ending]
    quality = tested(data, objective, now, comm)
    where = origin(job, data, objective, now, code, comm, how)
    model = in_file_units(
        now.state.w, data.shard.features, data.shard.intercept, data.mean, data.scale, data.classes, data.names
    )
    costs = Costs(channel.counts(), report.times(clock, time.perf_counter() - began, comm))
    store.check()
    write_result(
        job.out,
        model=model,
        history=now.rows,
        provenance=where,
        comm=comm,
        costs=costs,
        events=now.events,
        test=quality,
    )
    store.release(f"{now.ending}: {now.reason}")
    if data.test is not None:
        say(job, comm, f"{data.test.total} test rows: {report.metrics_line(quality)}")
    tables(job, objective, now, channel, costs)
    return code


def show(row: Row, lines: Progress, tolerance: float, log: Journal) -> None:
    """Say where the run is, to the terminal and to the log."""
    lines.show(row, tolerance)
    log.add(row)


def tested(data: Dataset, objective: Objective, now: Run, comm: Comm) -> dict[str, float]:
    """Measure the model on the test rows, where there are any; collective."""
    if data.test is None:
        return {}
    z = replace(objective, shard=data.test).predict(now.state.w)
    return metrics(data.target, z, data.test.label, data.test.weight, comm)


def agreed_job(words: Sequence[str], comm: Comm) -> Job:
    """Read the job on rank 0 and share its text, so that all ranks have the same one.

    Raises
    ------
    ValueError
        On all ranks, one line: an unknown flag or key, a value out of range, a job file that cannot be read.
    """
    return jobfile.read(shared_text(comm, lambda: job_of(words).text()))


def spares_of(job_on: Callable[[Comm], Job], ranks: Comm) -> int:
    """Give how many ranks are to wait; 0 where the job is wrong: the work will say so."""
    try:
        return job_on(ranks).spares
    except (ValueError, OSError):
        return 0


def job_text(path: str) -> str:
    """Read a job file; ValueError, in one line, where that cannot be."""
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ValueError(f"{path}: the job file cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: the job file is not text") from None


def job_of(words: Sequence[str]) -> Job:
    """Give the job of a command line: DATA [job.toml] [flags], or job.toml with a path in it."""
    return job_from(*parse(words, jobfile.flags()))


def job_from(positional: Sequence[str], settings: Settings) -> Job:
    """Give the job of parsed words."""
    files = [w for w in positional if w.endswith(".toml")]
    paths = [w for w in positional if not w.endswith(".toml")]
    if len(files) > 1 or len(paths) > 1:
        raise ValueError(f"train takes one data file and at most one job file, not {' '.join(positional)}")
    text = job_text(files[0]) if files else ""
    job = jobfile.read(text, [*(("path", p) for p in paths), *jobfile.spread(settings)], *files)
    if not job.path:
        raise ValueError("train needs a data file: mpiopt train DATA [job.toml] [flags]")
    out = job.out or result_name(job.path)
    refuse_onto(out, job.path, job.data.test)
    refuse_onto(job.log, job.path, job.data.test, out)
    return replace(job, out=out)


def result_name(path: str) -> str:
    """Give the default name of the result: the stem of the data file and .h5, in the working folder."""
    stem = Path(path.rstrip("/"))
    while stem.suffix in SUFFIXES:
        stem = stem.with_suffix("")
    name = f"{stem.name}.h5"
    return f"{stem.name}-fit.h5" if Path(name).absolute() == Path(path).absolute() else name


def make_plan(job: Job, data: Dataset, comm: Comm, keeper: Keeper) -> tuple[Plan, Checkpoints]:
    """Say when the run stops, saves, and whether it goes on from a checkpoint; claim the folder of checkpoints."""
    folder = Path(job.out).with_suffix(".ckpt")
    if job.resume not in ("", "auto"):
        folder = Path(job.resume) if job.resume.endswith(".ckpt") else Path(job.resume).with_suffix(".ckpt")
        comm.agree(None if folder.is_dir() else ValueError(f"--resume {job.resume}: there is no folder {folder}"))
    meta: dict[str, str | int | float] = {"job": f'data_checksum = "{data.checksum}"\n{job.identity()}'}
    if not (job.resume or keeper.saved):  # a launcher has started this job before
        keeper.saved = first_since(folder, float(os.environ.get(LAUNCHED, "inf")), comm)
    store = open_store(job, folder, comm)
    store.since = 0 if job.resume else keeper.saved
    store.claim()
    plan = Plan(job.stop, store, meta, every(job.checkpoint_every), bool(job.resume))
    return keeper.plan(plan, store, comm), store


def open_store(job: Job, folder: Path, comm: Comm) -> Checkpoints:
    """Give the checkpoints of a job, in the form that it wants."""

    def warn(line: str) -> None:
        say(job, comm, line)

    if job.checkpoint_form == "background":
        return BackgroundCheckpoints(folder, comm, warn)
    return Checkpoints(folder, comm, job.checkpoint_form, warn, hints_of(job.io_hints))


def account(clock: Clock, channel: Channel, spent: float) -> None:
    """Share out the seconds of the loop that are not counted yet."""
    traffic = channel.traffic
    clock.add("communicate", traffic.seconds_communicate)
    clock.add("compress", traffic.seconds_compress)
    clock.add("wait", traffic.seconds_wait)
    others = sum(clock.seconds[name] for name in ("compress", "communicate", "wait", "evaluate", "checkpoint"))
    clock.add("compute", max(0.0, spent - others))


def warm_up(objective: Objective, comm: Comm) -> None:
    """Compile the kernels on rank 0, then let the others find them in the cache."""
    if comm.rank == 0:
        warm(objective)
    comm.barrier()


def warm_up_compressor(channel: Channel, objective: Objective) -> None:
    """Compile what compresses, as `warm_up` does."""
    if channel.compressor is not None and channel.rank == 0:
        for d in (8, objective.zeros().size):
            channel.compressor.decode(channel.compressor.encode(np.ones(d), 0), d)
    channel.comm.barrier()


def described(data: Dataset, objective: Objective) -> str:
    """Say what was read and what is minimised, in one line."""
    shard, h = data.shard, objective.penalty
    kinds = f", {len(data.classes)} classes" if data.classes is not None else ""
    model = f"{written(objective.loss)} loss, {written(h)} penalty"
    return f"{data.source}: {shard.total} rows, {shard.features} features{kinds}; {model}"


def say(job: Job, comm: Comm, *lines: str) -> None:
    """Print on rank 0, unless told to be quiet."""
    if comm.rank == 0 and not job.quiet:
        print("\n".join(lines), flush=True)


def origin(job: Job, data: Dataset, objective: Objective, now: Run, code: int, comm: Comm, how: str) -> Provenance:
    """Say where the result comes from; `how` says how exchanges are made; collective."""
    where: Provenance = gather(
        comm,
        mpi=comm.library,
        job=job.text(),
        seed=job.seed,
        data=data.source,
        checksum=data.checksum,
        objective="(1/N) sum_i s_i loss_i(W x_i + b) + l1 |W|_1 + (l2/2) |W|^2, weights s_i of mean 1",
        loss=str(written(objective.loss)),
        penalty=str(written(objective.penalty)),
        compression=how.removeprefix("exchanges: ") or "none",
    )
    return replace(where, exit_status=code, certificate_kind=now.certificate.kind, certificate=now.certificate.value)


def tables(job: Job, objective: Objective, now: Run, channel: Channel, costs: Costs) -> None:
    """Print what came out, and where time, bytes and memory went; collective."""
    comm = channel.comm
    status = f"{STATUS[now.ending]}: {now.reason}"
    row = now.rows[-1]
    parts: list[tuple[str, int]] = [("rows", objective.shard.rows.nbytes), ("state", state_nbytes(now.state))]
    work = [report.work_line(float(now.state.work[0]), comm)] if hasattr(now.state, "work") else []
    if hasattr(now.state, "distance"):
        work.append(report.distance_line(float(now.state.distance[0])))
    say(
        job,
        comm,
        report.result_table(row, now.certificate.kind, job.stop.tol, status, job.out),
        *work,
        report.time_table(costs.time),
        *([report.traffic_table(costs.traffic)] if comm.size > 1 else []),
        *([report.graph_line(channel.traffic.rounds)] if channel.traffic.rounds else []),
        report.memory_table(parts, comm),
    )


def state_nbytes(state: Any) -> int:
    """Give the memory of a state's arrays."""
    return sum(a.nbytes for a in vars(state).values() if isinstance(a, np.ndarray))
