"""What `train` leaves behind: the result file, and the lines that it prints."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.portfolio import course
from mpiopt.algorithms.warm_start import first_of
from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Job, Model
from mpiopt.core.config.spec import spec_of
from mpiopt.data.dataset import Dataset
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.diagnostics import Diagnostics, diagnose
from mpiopt.objective.metrics import metrics
from mpiopt.objective.objective import Objective
from mpiopt.results import summary
from mpiopt.results.ending import Ending
from mpiopt.results.model import FittedModel, in_file_units
from mpiopt.results.provenance import Provenance, gather
from mpiopt.results.result_file import RunCosts, write_result
from mpiopt.training.agreement import confirm_written
from mpiopt.training.coefficient_bounds import kept_within
from mpiopt.training.run_state import RunState

logger = logging.getLogger(__name__)

MOST_DIAGNOSED = 100_000  # training rows of a rank on which the model is looked at: more change no picture


@dataclass(frozen=True)
class Finished:
    """A run at its end, with what its result file says besides the model."""

    now: RunState
    code: int  # exit code
    exchanges: str  # a line that describes how the ranks exchanged; "" without compression
    costs: RunCosts


def say(job: Job, comm: Comm, *lines: str) -> None:
    """Print on rank 0, unless the job is quiet."""
    if comm.rank == 0 and not job.quiet:
        logger.info("\n".join(lines))


def data_lines(data: Dataset, objective: Objective, model: Model) -> tuple[str, str]:
    """Return a line about the data and a line about the objective."""
    classes = f", {len(data.classes)} classes" if data.classes is not None else ""
    more = bounded_line(objective) + matrix_line(model)
    return (
        f"{data.source}: {data.shard.total} rows, {data.shard.features} features{classes}",
        f"{spec_of(objective.loss)} loss, {spec_of(objective.penalty)} penalty{more}",
    )


def bounded_line(objective: Objective) -> str:
    """Return in words how many coefficients have bounds, or in how many groups they are; "" for neither."""
    if objective.groups is not None:
        return f", l1 on the norms of {objective.groups.size} groups of {objective.shard.features} coefficients"
    bounds = objective.bounds
    count = 0 if bounds is None else int((np.isfinite(bounds.lower) | np.isfinite(bounds.upper)).sum())
    return f", bounds on {count} coefficients" if count else ""


def matrix_line(model: Model) -> str:
    """Return in words which ridge with a matrix there is; "" for none."""
    return f", ({model.ridge_strength:g}/2) wᵀSw with S = {model.ridge_matrix}" if model.ridge_matrix else ""


def smoothing_line(objective: Objective, value: float) -> str:
    """Return in words how far F is from that of the loss that is smoothed; "" if the loss is exact."""
    loss = objective.loss
    if not loss.smoothing:
        return ""
    part = f", {100.0 * loss.smoothing / value:.2g} % of it" if value > 0.0 else ""
    return f"the {loss.name} loss has an F of 0 to {loss.smoothing:g} less{part}; a smaller width makes that less"


def write(job: Job, data: Dataset, objective: Objective, finished: Finished, comm: Comm) -> dict[str, float]:
    """Write the result file; return the metrics of the test rows, if there are any; collective."""
    quality = test_metrics(data, objective, finished.now, comm)
    shard = data.shard

    def converted() -> FittedModel:
        found = in_file_units(
            finished.now.state.w,
            shard.features,
            shard.intercept,
            data.mean,
            data.scale,
            data.coordinates,
            data.class_labels,
            data.names,
        )
        return kept_within(found, job.model, data.names)

    model = converted()
    wanted = job.verify == "always" and finished.now.ending == "certified"
    if wanted and job.model.ridge_matrix and comm.rank == 0:
        logger.warning("--verify always: with a ridge matrix the model in the file's units is not evaluated again")
    if wanted and not job.model.ridge_matrix:
        units = ColumnUnits.of(data.mean, data.scale, data.coordinates, shard.intercept)
        w, again = (units.to_training(one, objective.width) for one in (model, converted()))
        if not confirm_written(finished.now, w, again, Channel(comm)) and comm.rank == 0:
            logger.warning(
                "the model is certified, but in the units of the file it is less exact: a column lies too far from 0 "
                "beside its spread; subtract a constant from it"
            )
    write_result(
        job.out,
        model=model,
        history=finished.now.rows,
        provenance=origin(job, data, objective, finished, comm),
        comm=comm,
        costs=finished.costs,
        events=finished.now.events,
        test=quality,
        schema=data.schema,
        diagnostics=diagnostics(data, objective, finished.now.state.w, comm),
    )
    return quality


def test_metrics(data: Dataset, objective: Objective, now: RunState, comm: Comm) -> dict[str, float]:
    """Return the metrics of the model on the test rows, none without test rows; collective."""
    if data.test is None:
        return {}
    z = replace(objective, shard=data.test).predict(now.state.w)
    return metrics(data.target, z, data.test.label, data.test.weight, comm, objective.loss)


def diagnostics(data: Dataset, objective: Objective, w: NDArray[np.float64], comm: Comm) -> Diagnostics | None:
    """Return how well the model predicts: on the test rows, else on the first training rows; collective."""
    if data.test is not None:
        shard, rows = data.test, f"{data.test.total} test rows"
    else:
        shard = data.shard
        count = min(len(shard), MOST_DIAGNOSED)
        total = int(comm.sum(np.array([float(count)]))[0])
        label, weight = shard.label[:count], shard.weight[:count]
        shard = replace(
            shard, rows=first_of(shard.rows, count), label=label, weight=weight, order=np.arange(count), parts=None
        )
        rows = f"{total} of the training rows" if total < data.shard.total else "the training rows"
    z = replace(objective, shard=shard).predict(w)
    far = data.coordinates.label_origin
    return diagnose(objective.loss, z + far, shard.label + far if far else shard.label, shard.weight, rows, comm)


def origin(job: Job, data: Dataset, objective: Objective, finished: Finished, comm: Comm) -> Provenance:
    """Return where the result comes from; collective."""
    certificate, smoothed = finished.now.certificate, objective.loss.smoothing > 0.0
    known = Provenance(
        job=job.text(),
        seed=job.seed,
        data=data.source,
        data_checksum=data.checksum,
        objective="(1/N) sum_i s_i loss_i(W x_i + b) + l1 |W|_1 + (l2/2) |W|^2, weights s_i of mean 1"
        + bounded_line(objective)
        + matrix_line(job.model)
        + (f"; F is 0 to {objective.loss.smoothing:g} above that of the loss that is smoothed" * smoothed),
        loss=str(spec_of(objective.loss)),
        penalty=str(spec_of(objective.penalty)),
        compression=finished.exchanges.removeprefix("exchanges: ") or "none",
        exit_status=finished.code,
        ending=finished.now.ending,
        reason=finished.now.reason_in_names(data.names),
        certificate_kind=certificate.kind,
        certificate=certificate.value,
        verified=finished.now.verified,
        run_id=finished.now.run_id,
    )
    return gather(comm, known)


def print_tables(
    job: Job, objective: Objective, names: Sequence[str] | None, finished: Finished, channel: Channel
) -> None:
    """Print the result, and where time, bytes and memory went; collective."""
    comm, now, costs = channel.comm, finished.now, finished.costs
    status = Ending(now.ending, now.reason_in_names(names)).text
    parts: list[tuple[str, int]] = [("rows", objective.shard.rows.nbytes), ("state", state_nbytes(now.state))]
    ran = course(now.rows, now.events)
    work = [summary.work_line(now.state.work.visited, comm)] if hasattr(now.state, "work") else []
    if hasattr(now.state, "distance"):
        work.append(summary.distance_line(float(now.state.distance[0])))
    say(
        job,
        comm,
        summary.result_table(
            now.last, now.certificate.kind, job.stop.tol, status, job.out, smoothing_line(objective, now.exact.value)
        ),
        *([f"algorithms   {ran}"] if ran else []),
        *work,
        summary.time_table(costs.time),
        *([summary.traffic_table(costs.traffic)] if comm.size > 1 else []),
        *([summary.graph_line(channel.traffic.rounds)] if channel.traffic.rounds else []),
        summary.memory_table(parts, comm),
    )


def state_nbytes(state: Any) -> int:
    """Return the bytes of a state's arrays."""
    return sum(a.nbytes for a in vars(state).values() if isinstance(a, np.ndarray))
