"""A cell in virtual time."""

from __future__ import annotations

from mpiopt.serving.examples import Sets
from mpiopt.serving.host import cast
from mpiopt.serving.view import Role
from mpiopt.serving.virtual import World
from mpiopt.study.failure.job import Cell, Study, server_of
from mpiopt.study.failure.outcome import VIRTUAL, Outcome, outcome


def simulate(cell: Cell, job: Study, sets: Sets) -> Outcome:
    """Run a cell in this process: the same bits every time."""
    task, view = job.task(cell, sets), job.view(cell)
    world = World(view, cast(server_of(cell), task), job.rules, job.costs, job.evaluate)
    record = world.run(job.plan(cell))
    return outcome(cell, record, task, sets.test, VIRTUAL, len(view.places) - len(view.having(Role.SPARE)) - 1)
