"""The command `serve`: run one cell of a failure study on these ranks, which may be killed."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.config.flags import parse
from mpiopt.core.files import refuse_existing, write_whole
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies import command
from mpiopt.studies.failure.job import FailureCell, FailureStudy, from_plain, server_of
from mpiopt.studies.failure.outcome import outcome
from mpiopt.studies.parameter_server.runtime.examples import Sets
from mpiopt.studies.parameter_server.runtime.host import actors_of
from mpiopt.studies.parameter_server.runtime.log import ServerLog
from mpiopt.studies.parameter_server.runtime.process import SIGKILL, SILENT, ProcessMailbox, ServerRun, run
from mpiopt.studies.parameter_server.runtime.view import Role, View

USAGE = "serve JOB.toml [--cell N] [--out FILE.json] [--overwrite], on as many ranks as the cell has roles"
FLUSH_SECONDS = 0.3  # in which MPI sends the last heartbeat


def serve(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Run a cell; if MPI survives the death of ranks, the process ends here."""
    with comm.agree_on_errors():
        job, cell, out = chosen(words, comm.size)
        sets = job.sets()
    cell_run = CellRun(job, cell, sets, comm, out)
    if (raw := comm.raw) is not None:
        from mpiopt.comm.mpi.fault_tolerant_mailbox import FaultTolerantMailbox, survives

        if survives():
            cell_run.run_mortal(FaultTolerantMailbox(raw))
    cell_run.run_silent()
    return 0


def chosen(words: Sequence[str], size: int) -> tuple[FailureStudy, FailureCell, str]:
    """Read the job and the cell.

    Raises
    ------
    ValueError
        If the words are wrong, or the cell needs another number of ranks.
    """
    paths, settings = parse(words, {"cell": True, "out": True, "overwrite": False})
    flags = dict(settings)
    if len(paths) != 1:
        raise ValueError(f"serve needs one job file: mpiopt {USAGE}")
    job = read(paths[0])
    number = flags.get("cell", "0")
    if not number.isdigit() or int(number) >= len(job.cells):
        raise ValueError(f"{paths[0]}: cells are numbered from 0 to {len(job.cells) - 1}; there is no cell {number}")
    cell = job.cells[int(number)]
    view = job.view(cell)
    if len(view.places) != size:
        counts = ", ".join(f"{len(view.with_role(role))} {role.name.lower()}" for role in list(Role)[1:])
        raise ValueError(f"{paths[0]}, cell {number}: start it on {len(view.places)} ranks, not {size}: {counts}")
    if "out" in flags:
        refuse_existing(flags["out"], "overwrite" in flags)
    return job, cell, flags.get("out", "")


def read(path: str) -> FailureStudy:
    """Read a job of the study `failure`, or its plain values."""
    if path.endswith(".json"):
        return from_plain(json.loads(Path(path).read_text()))
    job = command.read(path).job
    if not isinstance(job, FailureStudy):
        raise ValueError(f'{path}: serve takes a job with study = "failure"')
    return job


@dataclass(eq=False)
class CellRun:
    """One cell on the ranks of a communicator."""

    job: FailureStudy
    cell: FailureCell
    sets: Sets
    comm: Comm
    out: str

    def __post_init__(self) -> None:
        self.task, self.view = self.job.task(self.cell, self.sets), self.job.view(self.cell)

    def run_mortal(self, mailbox: ProcessMailbox) -> None:
        """Run processes that may be killed; end without MPI_Finalize, which would wait for dead ranks."""
        code, failed = 1, mailbox.lost  # type: ignore[attr-defined]
        try:
            log = self.run(mailbox, SIGKILL, failed)
            if log is not None:
                self.finish(log, SIGKILL)
            else:
                flush(mailbox)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def run_silent(self) -> None:
        """Run with ranks that are silent during an outage."""
        log = self.run(self.comm, SILENT, None)
        self.comm.drain()
        with self.comm.agree_on_errors():
            if log is not None:
                self.finish(log, SILENT)

    def run(self, mailbox: ProcessMailbox, death: str, failed: Collection[int] | None) -> ServerLog | None:
        """Print the processes of all ranks, and run."""
        announce(self.comm, self.view, death)
        server = server_of(self.cell)
        plan = ServerRun(
            self.view, actors_of(server, self.task), self.job.timing, self.job.plan(self.cell), self.job.evaluate
        )
        return run(plan, self.task, self.comm, mailbox, death, failed)

    def finish(self, log: ServerLog, death: str) -> None:
        """Evaluate, print and write the outcome."""
        reserved = sum(place.role not in (Role.SPARE, Role.REGISTRY) for place in self.view.places)
        result = outcome(self.cell, log, self.task, self.sets.test, death, reserved)
        for event in result.events:
            print(f"{event.seconds:8.2f} s  rank {event.rank} ({event.role.name.lower()}) {event.what}")
        for kill in result.kills:
            print(f"down {kill.downtime:.2f} s; accuracy {kill.before:.3f} before, {kill.after:.3f} after")
        print(f"accuracy {result.final:.3f}, {len(result.updates)} updates, deaths: {death}", flush=True)
        if self.out:
            write_whole(Path(self.out), json.dumps(result.as_plain()).encode())


def announce(comm: Comm, view: View, death: str) -> None:
    """Print the process of every rank, which a user needs to kill a rank from outside."""
    pids = np.concatenate(comm.allgather(np.array([os.getpid()])))
    if comm.rank == 0:
        for rank, (pid, place) in enumerate(zip(pids.tolist(), view.places, strict=True)):
            print(f"rank {rank} {place.role.name.lower()} pid {pid}")
        how = "processes are killed" if death == SIGKILL else "this MPI does not survive kills: dead ranks are silent"
        print(f"deaths: {how}", flush=True)


def flush(mailbox: ProcessMailbox) -> None:
    """Let MPI send the last heartbeat."""
    end = time.monotonic() + FLUSH_SECONDS
    while time.monotonic() < end:
        mailbox.receive_available()
        time.sleep(0.005)
