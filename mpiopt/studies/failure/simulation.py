"""Run the cells: in virtual time on the ranks of the study, or each under its own mpirun."""

from __future__ import annotations

from mpiopt.comm.base import Comm
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.cells import run_cells
from mpiopt.studies.failure.job import FailureCell, FailureStudy, server_of
from mpiopt.studies.failure.outcome import VIRTUAL, FailureOutcome, from_plain, outcome
from mpiopt.studies.failure.process_run import CellLauncher
from mpiopt.studies.parameter_server.runtime.examples import Sets
from mpiopt.studies.parameter_server.runtime.host import actors_of
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.runtime.virtual import VirtualWorld


def run(job: FailureStudy, comm: Comm, stop: StopSignal) -> list[FailureOutcome]:
    """Run the cells and return the outcomes of all ranks, in the order of the job.

    Raises
    ------
    ValueError
        If the data do not fit the network, or if `mode` is "processes" and the study itself runs under mpirun.
    """
    if job.mode == "processes":
        return launch_cells(job, comm, stop)
    with comm.agree_on_errors():
        sets = job.sets()
    return run_cells(job.cells, lambda cell: simulate(cell, job, sets), describe, comm, stop)


def simulate(cell: FailureCell, job: FailureStudy, sets: Sets) -> FailureOutcome:
    """Run a cell in virtual time in this process: the same bits every time."""
    task, view = job.task(cell, sets), job.view(cell)
    world = VirtualWorld(view, actors_of(server_of(cell), task), job.timing, job.costs, job.evaluate)
    log = world.run(job.plan(cell))
    return outcome(cell, log, task, sets.test, VIRTUAL, len(view.places) - len(view.with_role(Role.SPARE)) - 1)


def launch_cells(job: FailureStudy, comm: Comm, stop: StopSignal) -> list[FailureOutcome]:
    """Start an mpirun for each cell, one after the other; a cell without a result is reported and left out."""
    if comm.size > 1:
        raise ValueError('mode = "processes" starts an mpirun for each cell: start the study without mpirun')
    launcher = CellLauncher(job)

    def launch(cell: FailureCell) -> FailureOutcome | None:
        try:
            return from_plain(launcher.start(cell))
        except OSError as error:
            print(error, flush=True)
            return None

    return run_cells(job.cells, launch, describe, comm, stop)


def describe(o: FailureOutcome, seconds: float) -> str:
    """Return the progress line of a cell."""
    return f"{o.text}, {seconds:.0f} s"
