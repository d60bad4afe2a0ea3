"""One run of a configuration between ranks: from the plan of roles to what the registry wrote down."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.studies.parameter_server.runtime.actor import Me
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import Cast, Host
from mpiopt.studies.parameter_server.runtime.process import Process, ProcessMailbox
from mpiopt.studies.parameter_server.runtime.record import ServerLog
from mpiopt.studies.parameter_server.runtime.registry import Registry, Rules
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import View, unknown

PATIENCE = 30.0  # seconds after the end of the run in which the word to stop must come


class ServerRun(NamedTuple):
    """All that the ranks agree on."""

    view: View
    actors: Cast
    rules: Rules
    faults: Sequence[Fault]
    every: float  # seconds between the weights that are shown


def run(
    plan: ServerRun,
    task: ServerTask,
    comm: Comm,
    mail: ProcessMailbox,
    death: str,
    lost: Collection[int] | None = None,
) -> ServerLog | None:
    """Run as one rank; collective until the clock starts. Rank 0 gives the record.

    Raises
    ------
    RuntimeError
        Where the registry is gone.
    """
    w = task.start()
    task.stepped(w, [task.gradient(w, 0, 0, 0)])  # what is loaded or compiled at first use, before the clock starts
    comm.barrier()
    began = time.monotonic()
    record = ServerLog() if comm.rank == 0 else None

    def born(life: int) -> Host:
        view = plan.view if life == 0 else unknown(plan.view, comm.rank)
        me = Me(comm.rank, view, lambda: time.monotonic() - began, life, every=plan.every)
        if record is None:
            return Host(me, plan.actors)
        return Host(me, lambda me: Registry(me, plan.rules, plan.faults, record, lost).run())

    end = plan.rules.seconds + PATIENCE
    Process(mail, born, plan.rules.beat, death, end, lambda: lost is not None and 0 in lost).run()
    return record
