"""A cell in virtual time."""

from __future__ import annotations

from mpiopt.studies.failure.job import FailureCell, FailureStudy, server_of
from mpiopt.studies.failure.outcome import VIRTUAL, FailureOutcome, outcome
from mpiopt.studies.parameter_server.runtime.examples import Sets
from mpiopt.studies.parameter_server.runtime.host import cast
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.runtime.virtual import VirtualWorld


def simulate(cell: FailureCell, job: FailureStudy, sets: Sets) -> FailureOutcome:
    """Run a cell in this process: the same bits every time."""
    task, view = job.task(cell, sets), job.view(cell)
    world = VirtualWorld(view, cast(server_of(cell), task), job.rules, job.costs, job.evaluate)
    record = world.run(job.plan(cell))
    return outcome(cell, record, task, sets.test, VIRTUAL, len(view.places) - len(view.having(Role.SPARE)) - 1)
