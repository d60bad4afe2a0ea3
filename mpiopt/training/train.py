"""The command `train`: from a data file to a certified model in a result file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

from mpiopt.comm.base import Assignment, Comm
from mpiopt.comm.collective_io import check_appendable, check_writable
from mpiopt.comm.membership import AGAIN, FixedMembership, run_elastic
from mpiopt.comm.oversubscription import oversubscribed
from mpiopt.core.config.job import Job, parse_interval, parse_io_hints
from mpiopt.core.exit_note import LAUNCHED
from mpiopt.core.history import Clock, HistoryRow
from mpiopt.data.dataset import Dataset, prepare
from mpiopt.inference.units import ColumnUnits
from mpiopt.kernels.kernel_cache import compile_seconds
from mpiopt.objective.losses.base import loss_targets
from mpiopt.resilience.checkpoint.async_store import BackgroundCheckpoints
from mpiopt.resilience.checkpoint.store import Checkpoints, first_since
from mpiopt.resilience.deadline import Deadline
from mpiopt.resilience.recovery.base import make_recovery
from mpiopt.resilience.round_limit import RoundLimit
from mpiopt.resilience.signals import StopSignal
from mpiopt.results import summary
from mpiopt.results.jsonl_log import open_log
from mpiopt.results.phases import gather_phases
from mpiopt.results.result_file import RunCosts
from mpiopt.training.channel_setup import check_exchange_options, open_channel
from mpiopt.training.initial import started_from
from mpiopt.training.job_args import agreed_job
from mpiopt.training.label_origin import posed_data
from mpiopt.training.loop import run
from mpiopt.training.outcome import Finished, data_lines, print_tables, say, write
from mpiopt.training.ownership import identity, refuse_others_files, refuse_others_result
from mpiopt.training.problem import link_of, pick, refuse_infinite, refuse_unfit_algorithm, target_of
from mpiopt.training.profile import profiled
from mpiopt.training.progress import progress
from mpiopt.training.rehearsal import compile_compressor, compile_kernels
from mpiopt.training.run_recovery import RunRecovery
from mpiopt.training.run_state import RunPlan, count_loop
from mpiopt.training.structure import structured

EXIT = {"certified": 0, "budget": 3, "no optimum": 3}


def train(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Train as the command line and the job file say; return the exit code."""
    return train_elastic(comm, lambda ranks: agreed_job(words, ranks), stop)


def train_job(job: Job, comm: Comm, stop: StopSignal) -> int:
    """Train as the job says, which must be equal on all ranks; return the exit code."""
    return train_elastic(comm, lambda ranks: job, stop)


def train_elastic(comm: Comm, job_on: Callable[[Comm], Job], stop: StopSignal) -> int:
    """Train, again after each loss of ranks, with the job on which the ranks of a communicator agree."""
    recovery, membership = RunRecovery(), comm.membership or FixedMembership(comm)
    return run_elastic(
        membership,
        lambda ranks: spares_of(job_on, ranks),
        lambda assignment: train_once(job_on, assignment, stop, recovery),
    )


def train_once(job_on: Callable[[Comm], Job], assignment: Assignment, stop: StopSignal, recovery: RunRecovery) -> int:
    """Train, from the start or from what `recovery` has kept of an attempt before; return the exit code.

    This is the one place that connects the parts of a run.
    """
    began, compiled, clock = time.perf_counter(), compile_seconds(), Clock()
    comm = cast(Comm, assignment.comm)
    job = job_on(comm)
    strategy = make_recovery(job.recovery)
    recovery.begin(assignment, strategy, lambda line: say(job, comm, line))
    if not recovery.first_attempt:
        stop.realign(comm)
    if assignment.lost and not strategy.continues:
        return AGAIN
    check_exchange_options(job)
    refuse_unfit_algorithm(job)
    refuse_others_result(job, comm)
    check_writable(job.out, comm)
    if job.log:
        check_appendable(job.log, comm)
    data = prepare(job.path, target_of(job.model), job.data, job.seed, comm, loss_targets(), link_of(job.model))
    clock.add("compile", compile_seconds() - compiled)
    clock.add("load", time.perf_counter() - began - clock.seconds["compile"])
    data, objective = posed_data(job, job.model, data, comm)
    refuse_infinite(objective, job.path, comm)
    units = ColumnUnits.of_dataset(data)
    init = ""
    if job.init:
        objective, init = started_from(job.init, objective, data, comm)
    given, basis = structured(objective, job.model, units, data.names, comm)
    objective = given if basis is None else basis.posed
    plan, store = make_plan(job, data, comm, recovery)
    with abandoned_on_error(store):
        objective, estimated = profiled(objective, job.stop, comm, stop)
        compiled = compile_seconds()
        portfolio, why = pick(job.algorithm, objective, job.stop.tol, comm, job.compress.name)
        clock.add("compile", compile_seconds() - compiled)
        compile_kernels(objective, portfolio, comm, clock, lambda line: say(job, comm, line))
        channel, portfolio, exchanges = open_channel(job, objective, portfolio, comm)
        say(
            job,
            comm,
            *data.notes,
            *data_lines(data, given, job.model),
            why,
            *filter(None, (init, estimated, exchanges, oversubscribed(comm))),
        )
        compile_compressor(channel, objective, clock)
        terminal = progress(comm.rank, job.quiet, job.stop, sys.stdout)
        log = open_log(job.log, comm.rank, bool(job.resume) or not recovery.first_attempt)

        def report(row: HistoryRow) -> None:
            terminal.show(row)
            log.add(row)

        started, compiled = time.perf_counter(), compile_seconds()
        with watched(plan, comm, started - began) as plan:
            now = run(plan, objective, portfolio, channel, stop, clock, report)
        terminal.end()
        count_loop(clock, channel, time.perf_counter() - started, compile_seconds() - compiled)
        code = stop.exit_code if now.ending == "signal" else EXIT[now.ending]
        phases = gather_phases(clock.samples, comm)
        costs = RunCosts(channel.counts(), summary.times(clock, time.perf_counter() - began, comm), phases)
        finished = Finished(now, code, exchanges, costs)
        if now.ending != "signal":
            store.settle()
        store.check()
        if basis is not None:
            now, objective = basis.ended(now)
        quality = write(job, data, objective, finished, comm)
        store.release(f"{now.ending}: {now.reason}", code)
        if data.test is not None:
            say(job, comm, summary.wrapped(f"{data.test.total} test rows: {summary.metrics_line(quality)}"))
        print_tables(job, objective, data.names, finished, channel)
        return code


@contextmanager
def abandoned_on_error(store: Checkpoints) -> Iterator[None]:
    """Release the folder of checkpoints if the block ends with an error of the user's: nobody writes there now."""
    try:
        yield
    except (ValueError, OSError, MemoryError) as error:
        store.abandon(str(error))
        raise


@contextmanager
def watched(plan: RunPlan, comm: Comm, seconds: float) -> Iterator[RunPlan]:
    """Return the plan with a watch over its rounds, where each rank has a process of its own.

    `seconds` is how long it took to read and to prepare.
    """
    if comm.raw is None and comm.size > 1:  # ranks that are threads of one process, in tests and simulations
        yield plan
        return
    with RoundLimit(comm.rank, seconds) as limit:
        yield replace(plan, limit=limit)


def spares_of(job_on: Callable[[Comm], Job], ranks: Comm) -> int:
    """Return how many ranks wait as spares; 0 if the job is wrong, since `train_once` reports that."""
    try:
        return job_on(ranks).spares
    except (ValueError, OSError):
        return 0


def make_plan(job: Job, data: Dataset, comm: Comm, recovery: RunRecovery) -> tuple[RunPlan, Checkpoints]:
    """Return when the run stops and saves, and whether it resumes; claim the folder of checkpoints; collective."""
    folder = Path(job.out).with_suffix(".ckpt")
    if recovery.first_attempt:
        refuse_others_files(job, folder, comm, data.checksum)
    if job.resume not in ("", "auto"):
        folder = Path(job.resume) if job.resume.endswith(".ckpt") else Path(job.resume).with_suffix(".ckpt")
        comm.agree(None if folder.is_dir() else ValueError(f"--resume {job.resume}: there is no folder {folder}"))
    if not (job.resume or recovery.saved):  # the launcher may have started this run before
        recovery.saved = first_since(folder, float(os.environ.get(LAUNCHED, "inf")), comm)
    store = open_store(job, folder, comm)
    store.since = 0 if job.resume else recovery.saved
    store.claim()
    plan = RunPlan(
        stop=job.stop,
        store=store,
        meta={
            "job": identity(job, data.checksum),
            "tol": job.stop.tol,  # for `mpiopt status`
            "run_id": recovery.agree_on_id(comm),
        },
        save_every=parse_interval(job.checkpoint_every),
        resume=bool(job.resume),
        external_stop=Deadline(store.folder, os.environ) if comm.rank == 0 else None,
        verify=job.verify,
    )
    return recovery.plan(plan, store, comm), store


def open_store(job: Job, folder: Path, comm: Comm) -> Checkpoints:
    """Return the checkpoints of a job, in the form that the job asks for."""

    def warn(line: str) -> None:
        say(job, comm, line)

    if job.checkpoint_form == "background":
        return BackgroundCheckpoints(folder, comm, warn)
    return Checkpoints(folder, comm, job.checkpoint_form, warn, parse_io_hints(job.io_hints))
