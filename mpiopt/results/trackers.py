"""`mpiopt export RUN.h5 DIR --to tensorboard|mlflow`: the course of a run where its user compares experiments.

Their own libraries write. A run has one id from its first start on, so what is exported again, after more rounds or
after a requeue, is the same run there.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mpiopt.results.ending import BUDGET, CERTIFIED, SIGNAL, ending_of
from mpiopt.results.provenance import ID, first_start
from mpiopt.results.run_record import RunRecord

SUFFIX = ".mpiopt"  # of our files of events: those alone are replaced when a run is exported again
EXPERIMENT = "mpiopt"  # of MLflow, unless its own variable MLFLOW_EXPERIMENT_NAME says another
TAG = "mpiopt.run_id"  # MLflow gives runs ids of its own; this tag has ours
BATCH = 100  # values in one message to MLflow: its limit for parameters and tags
TOLD = ("data", "loss", "penalty", "ranks", "ending", "reason")  # provenance that becomes tags of MLflow
LONGEST = 500  # characters of a parameter: MLflow's limit where its servers are old
MILLI = 1000.0  # MLflow counts milliseconds
STATUS = {CERTIFIED: "FINISHED", BUDGET: "FINISHED", SIGNAL: "KILLED"}  # by ending; others have failed


class Scalar(NamedTuple):
    """One number of the course of a run."""

    name: str
    value: float
    round: int
    at: float  # seconds since 1970


def as_tensorboard(record: RunRecord, out: str) -> str:
    """Write the run as a folder of its id under `out`; return that folder."""
    from tensorboardX import SummaryWriter

    folder = Path(out) / run_id(record)
    if folder.is_dir():
        for old in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
            old.unlink()
    with SummaryWriter(str(folder), filename_suffix=SUFFIX) as writer:
        for one in scalars(record):
            writer.add_scalar(one.name, one.value, one.round, one.at)
        writer.add_text("job", f"```\n{record.job}\n```", walltime=began(record))
        for event in record.events:
            writer.add_text(f"events/{event.kind}", event.text, event.round, began(record) + event.seconds)
    return str(folder)


def as_mlflow(record: RunRecord, out: str) -> str:
    """Add the run, or what is new of it, to MLflow's folder or server `out`; return its id there."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a user who names a folder wants one
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # an export calls nobody but the server that is named
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        client = MlflowClient(tracking_uri=out if "://" in out else Path(out).absolute().as_uri())
        mine, last = _mlflow_run(client, record)
        values = [Metric(s.name, s.value, round(s.at * MILLI), s.round) for s in scalars(record) if s.round > last]
        for at in range(0, len(values), BATCH):
            client.log_batch(mine, metrics=values[at : at + BATCH])
        params = [Param(key, value[:LONGEST]) for key, value in record.settings.items()] if last < 0 else []
        for at in range(0, len(params), BATCH):
            client.log_batch(mine, params=params[at : at + BATCH])
        found = [RunTag(f"mpiopt.{name}", str(record.provenance.get(name, ""))) for name in TOLD]
        client.log_batch(mine, tags=[tag for tag in found if tag.value])
        if record.finished:
            ending = ending_of(record.provenance).kind
            ended = began(record) + float(record.history["seconds"][-1])
            when = round(ended * MILLI) if math.isfinite(ended) else None
            client.set_terminated(mine, STATUS.get(ending, "FAILED"), when)
    except MlflowException as error:
        raise ValueError(f"{out}: MLflow refuses the run: {' '.join(str(error).split())}") from None
    return f"{out}, run {mine}"


def _mlflow_run(client: Any, record: RunRecord) -> tuple[str, int]:
    """Return MLflow's id of this run, which is made if it is not there, and the last round that it knows."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    mine = run_id(record)
    runs = client.search_runs([experiment], f"tags.`{TAG}` = '{mine}'", max_results=1)
    if runs:
        known = client.get_metric_history(runs[0].info.run_id, "objective")
        return runs[0].info.run_id, max((metric.step for metric in known), default=-1)
    name = f"{record.path.stem} {mine}"
    made = client.create_run(experiment, round(began(record) * MILLI), {TAG: mine}, name)
    return made.info.run_id, -1


def scalars(record: RunRecord) -> Iterator[Scalar]:
    """Return the numbers of each evaluation and the metrics of the test rows, those that are finite."""
    names = [name for name in record.history.dtype.names or () if name != "round"]
    for row in record.history:
        at = began(record) + float(row["seconds"])
        for name in names:
            if math.isfinite(row[name]) and math.isfinite(at):
                yield Scalar(name, float(row[name]), int(row["round"]), at)
    last = record.history[-1]
    for name, value in record.test.items():
        if math.isfinite(value):
            yield Scalar(f"test/{name}", value, int(last["round"]), began(record) + float(last["seconds"]))


def run_id(record: RunRecord) -> str:
    """Return the run's id; a name made of the file's for a run of an earlier version, which has none.

    It becomes a folder and a part of a query: an id that mpiopt does not make could be a path to anywhere.
    """
    mine = str(record.provenance.get("run_id", ""))
    return mine if ID.fullmatch(mine) else re.sub(r"[^\w.-]", "_", record.path.stem)


def began(record: RunRecord) -> float:
    """Return when the run was first started, in seconds since 1970."""
    try:
        return first_start(run_id(record)).timestamp()
    except ValueError:  # a run of an earlier version: its file was written at the end
        return record.path.stat().st_mtime - float(record.history["seconds"][-1])


TRACKERS: dict[str, Callable[[RunRecord, str], str]] = {"tensorboard": as_tensorboard, "mlflow": as_mlflow}
