"""Labels far from 0 beside their spread lose an origin before training; the intercept of the model gets it back."""

from __future__ import annotations

from dataclasses import replace

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Job, Model
from mpiopt.data.coordinates import Coordinates, origin_of_labels
from mpiopt.data.dataset import Dataset
from mpiopt.data.shard import Shard
from mpiopt.objective.objective import Objective
from mpiopt.training.problem import pose


def without_label_origin(objective: Objective, coordinates: Coordinates, comm: Comm) -> tuple[Objective, Coordinates]:
    """Return the objective with labels near 0, and coordinates that know their origin; collective."""
    shard = objective.shard
    if not (objective.loss.of_residual and shard.intercept):
        return objective, coordinates
    origin = origin_of_labels(shard.label, shard.weight, comm)
    if origin == 0.0:
        return objective, coordinates
    return replace(objective, shard=_moved(shard, origin)), replace(coordinates, label_origin=origin)


def posed_data(job: Job, model: Model, data: Dataset, comm: Comm) -> tuple[Dataset, Objective]:
    """Return the objective on the rows of a file, and the data set with its labels; collective."""
    objective = pose(model, data.shard, data.target, data.classes)
    if job.data.coordinates != "standardised":
        return data, objective
    objective, coordinates = without_label_origin(objective, data.coordinates, comm)
    test = None if data.test is None else _moved(data.test, coordinates.label_origin)
    return replace(data, shard=objective.shard, test=test, coordinates=coordinates), objective


def _moved(shard: Shard, origin: float) -> Shard:
    """Subtract the origin from the labels; those of rows of weight 0 say nothing, and stay."""
    label = shard.label.copy()
    label[shard.weight > 0.0] -= origin
    return replace(shard, label=label)
