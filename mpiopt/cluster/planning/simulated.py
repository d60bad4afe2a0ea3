"""`mpiopt plan DATA --simulate 1,4,16,64,256`: the job's algorithm on these numbers of ranks, in simulated time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mpiopt.cluster.planning import link, probe
from mpiopt.cluster.planning.clocks import ClockComm, Clocks
from mpiopt.cluster.planning.link import Link
from mpiopt.cluster.planning.plan_args import PlanRequest
from mpiopt.comm.base import Comm
from mpiopt.comm.lockstep import spmd
from mpiopt.core.config.job import Job
from mpiopt.core.history import Clock
from mpiopt.data.dataset import prepare
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.losses.base import loss_targets
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.summary import size
from mpiopt.training.channel_setup import open_channel
from mpiopt.training.label_origin import posed_data
from mpiopt.training.loop import run
from mpiopt.training.problem import link_of, pick, target_of
from mpiopt.training.run_state import RunPlan
from mpiopt.training.structure import structured

MAX_RANKS = 1024  # each is a thread
TURN_SECONDS = 600.0  # a rank that waits longer for its turn fails


class SimulatedRun(NamedTuple):
    """A run; its simulated seconds are those of the mean rank, the total those of the slowest."""

    ranks: int
    rows: int  # of the rank with the most
    algorithm: str
    epochs: float
    rounds: int
    sent: int  # bytes of all ranks
    compute: float
    communicate: float
    wait: float
    seconds: float
    certificate: float
    ending: str


def simulate(request: PlanRequest, comm: Comm) -> str:
    """Simulate each number of ranks on rank 0; return the table."""
    if request.link == "measured":
        raise ValueError("--simulate cannot measure the link; give --link RATE,LATENCY, as --link 100Gbit/s,2us")
    between = link.read(request.link, request.ranks_per_node)
    counts = ranks_of(request.simulate)
    refuse_measured_choices(request.job)
    if comm.rank:
        return ""
    return table([simulate_job(request.job, ranks, between) for ranks in counts], request, between)


def ranks_of(text: str) -> list[int]:
    """Read `1,4,16`; ValueError for anything else."""
    try:
        counts = [int(word) for word in text.split(",")]
    except ValueError:
        counts = [0]
    if not all(1 <= ranks <= MAX_RANKS for ranks in counts):
        raise ValueError(f"--simulate needs numbers of ranks from 1 to {MAX_RANKS}, as 1,4,16; not {text!r}")
    return counts


def refuse_measured_choices(job: Job) -> None:
    """Raise ValueError for a job whose options depend on measured speeds: here time is simulated."""
    if job.compress.name == "auto" or job.algorithm.options.get("local_steps") == -1:
        raise ValueError("--simulate cannot choose by measured speeds: give --compress and --local-steps")


def simulate_job(job: Job, ranks: int, between: Link) -> SimulatedRun:
    """Run a job to its end on `ranks` ranks that take turns."""
    clocks = Clocks(between)
    return spmd(ranks, lambda comm: _rank(job, comm, clocks), TURN_SECONDS)[0]


def _rank(job: Job, comm: Comm, clocks: Clocks) -> SimulatedRun:
    data = prepare(job.path, target_of(job.model), job.data, job.seed, comm, loss_targets(), link_of(job.model))
    data, objective = posed_data(job, job.model, data, comm)
    units = ColumnUnits.of_dataset(data)
    objective, basis = structured(objective, job.model, units, data.names, comm)
    objective = objective if basis is None else basis.posed
    price = clocks.link.latency, clocks.link.byte
    portfolio, _ = pick(job.algorithm, objective, job.stop.tol, comm, job.compress.name, price)
    if comm.rank == 0:
        probe.warm([objective], portfolio.first, job.seed)
    comm.barrier()
    clocked = ClockComm(comm, clocks)
    channel, portfolio, _ = open_channel(job, objective, portfolio, clocked)
    now = run(RunPlan(job.stop), objective, portfolio, channel, StopSignal(), Clock(), lambda row: None)
    spent = clocked.spent
    mine = np.array([spent.compute, spent.communicate, spent.wait])
    compute, communicate, wait = (float(x) / comm.size for x in comm.sum(mine))
    return SimulatedRun(
        ranks=comm.size,
        rows=int(comm.max(np.array([len(objective.shard)]))[0]),
        algorithm=portfolio.first.name,
        epochs=now.epochs,
        rounds=now.round,
        sent=int(comm.sum(np.array([channel.traffic.bytes_sent]))[0]),
        compute=compute,
        communicate=communicate,
        wait=wait,
        seconds=float(comm.max(np.array([spent.now]))[0]),
        certificate=now.certificate.value,
        ending=now.ending,
    )


def table(runs: list[SimulatedRun], request: PlanRequest, between: Link) -> str:
    """Return a line for each number of ranks."""
    lines = [
        f"simulated: {request.job.path[:66]}",
        f"  true rounds and bytes; seconds: work measured, link {between.source}: {between.describe()}",
        f"  {'ranks':>5} {'rows each':>9} {'epochs':>7} {'rounds':>6} {'sent by all':>11} "
        f"{'compute':>8} {'commun.':>8} {'wait':>8} {'seconds':>8}",
    ]
    for s in runs:
        lines.append(
            f"  {s.ranks:>5} {s.rows:>9} {s.epochs:7.3g} {s.rounds:>6} {size(s.sent):>11} {s.compute:8.3g} "
            f"{s.communicate:8.2g} {s.wait:8.2g} {s.seconds:8.3g}"
            + ("" if s.ending == "certified" else " NOT certified")
        )
    return "\n".join(lines)
