"""What `train` leaves and says: the result file, and the tables at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Job
from mpiopt.core.config.spec import spec_of
from mpiopt.data.dataset import Dataset
from mpiopt.objective.metrics import metrics
from mpiopt.objective.objective import Objective
from mpiopt.results import summary
from mpiopt.results.model import in_file_units
from mpiopt.results.provenance import Provenance, gather
from mpiopt.results.result_file import RunCosts, write_result
from mpiopt.training.loop import RunState

STATUS = {"certified": "certified", "budget": "NOT certified, budget spent", "signal": "NOT certified, stopped"}


@dataclass(frozen=True)
class Finished:
    """A run that has come to its end, and what its result says besides."""

    now: RunState
    code: int  # exit code
    how: str  # exchanges are made
    costs: RunCosts


def write(job: Job, data: Dataset, objective: Objective, done: Finished, comm: Comm) -> dict[str, float]:
    """Write the result file; give the metrics of the test rows; collective."""
    quality = tested(data, objective, done.now, comm)
    model = in_file_units(
        done.now.state.w, data.shard.features, data.shard.intercept, data.mean, data.scale, data.classes, data.names
    )
    write_result(
        job.out,
        model=model,
        history=done.now.rows,
        provenance=origin(job, data, objective, done, comm),
        comm=comm,
        costs=done.costs,
        events=done.now.events,
        test=quality,
    )
    return quality


def tested(data: Dataset, objective: Objective, now: RunState, comm: Comm) -> dict[str, float]:
    """Measure the model on the test rows, where there are any; collective."""
    if data.test is None:
        return {}
    z = replace(objective, shard=data.test).predict(now.state.w)
    return metrics(data.target, z, data.test.label, data.test.weight, comm)


def described(data: Dataset, objective: Objective) -> str:
    """Say what was read and what is minimised, in a line each."""
    shard, h = data.shard, objective.penalty
    kinds = f", {len(data.classes)} classes" if data.classes is not None else ""
    model = f"{spec_of(objective.loss)} loss, {spec_of(h)} penalty"
    return f"{data.source}: {shard.total} rows, {shard.features} features{kinds}\n{model}"


def say(job: Job, comm: Comm, *lines: str) -> None:
    """Print on rank 0, unless told to be quiet."""
    if comm.rank == 0 and not job.quiet:
        print("\n".join(lines), flush=True)


def origin(job: Job, data: Dataset, objective: Objective, done: Finished, comm: Comm) -> Provenance:
    """Say where the result comes from; collective."""
    where: Provenance = gather(
        comm,
        mpi=comm.library,
        job=job.text(),
        seed=job.seed,
        data=data.source,
        checksum=data.checksum,
        objective="(1/N) sum_i s_i loss_i(W x_i + b) + l1 |W|_1 + (l2/2) |W|^2, weights s_i of mean 1",
        loss=str(spec_of(objective.loss)),
        penalty=str(spec_of(objective.penalty)),
        compression=done.how.removeprefix("exchanges: ") or "none",
    )
    found = done.now.certificate
    return replace(where, exit_status=done.code, certificate_kind=found.kind, certificate=found.value)


def tables(job: Job, objective: Objective, done: Finished, channel: Channel) -> None:
    """Print what came out, and where time, bytes and memory went; collective."""
    comm, now, costs = channel.comm, done.now, done.costs
    status = f"{STATUS[now.ending]}: {now.reason}"
    row = now.rows[-1]
    parts: list[tuple[str, int]] = [("rows", objective.shard.rows.nbytes), ("state", state_nbytes(now.state))]
    work = [summary.work_line(float(now.state.work[0]), comm)] if hasattr(now.state, "work") else []
    if hasattr(now.state, "distance"):
        work.append(summary.distance_line(float(now.state.distance[0])))
    say(
        job,
        comm,
        summary.result_table(row, now.certificate.kind, job.stop.tol, status, job.out),
        *work,
        summary.time_table(costs.time),
        *([summary.traffic_table(costs.traffic)] if comm.size > 1 else []),
        *([summary.graph_line(channel.traffic.rounds)] if channel.traffic.rounds else []),
        summary.memory_table(parts, comm),
    )


def state_nbytes(state: Any) -> int:
    """Give the memory of a state's arrays."""
    return sum(a.nbytes for a in vars(state).values() if isinstance(a, np.ndarray))
