"""From a job and a shard to what is solved: the loss, the penalty, the algorithm, and whether they fit together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.cost_model import Size, choose
from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Model
from mpiopt.core.config.spec import PluginSpec
from mpiopt.data.shard import CsrRows, Shard
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty

DEFAULT_LOSS = {"binary": "logistic", "multiclass": "softmax", "real": "squared", "count": "poisson"}


def target_of(model: Model) -> str:
    """Give what labels the job's loss takes, "auto" where the labels are to decide."""
    return "auto" if model.loss.name == "auto" else make_loss(model.loss).target


def penalty(l1: float, l2: float) -> Penalty:
    """Give the member of the family with these strengths and no idle part."""
    names = {(False, False): "none", (False, True): "ridge", (True, False): "lasso", (True, True): "elastic-net"}
    given = {key: value for key, value in (("l1", l1), ("l2", l2)) if value > 0}
    return Penalty.make(names[l1 > 0, l2 > 0], given)


def pose(model: Model, shard: Shard, target: str, classes: NDArray[Any] | None) -> Objective:
    """Give the objective on this shard."""
    chosen = model.loss if model.loss.name != "auto" else replace(model.loss, name=DEFAULT_LOSS[target])
    h = penalty(model.l1, model.ridge(shard.total))
    return Objective(make_loss(chosen), h, shard, 2 if classes is None else len(classes))


def pick(
    selection: PluginSpec, objective: Objective, tol: float, comm: Comm, compressor: str = "none"
) -> tuple[Algorithm[Any], str]:
    """Give the algorithm and one line that says why; collective. With a compressor, one that can use it.

    Raises
    ------
    ValueError
        If the algorithm that was asked for needs what the job does not have.
    """
    return pick_for(selection, objective, measure(objective, tol, comm), compressor)


def pick_for(
    selection: PluginSpec, objective: Objective, size: Size, compressor: str = "none"
) -> tuple[Algorithm[Any], str]:
    """Do as `pick` for a job of the given size."""
    if selection.name != "auto":
        algorithm = make_algorithm(selection)
        lacking = unmet(algorithm.needs, objective)
        if lacking:
            raise ValueError(f"{selection.name} needs a {lacking}; use --algorithm auto")
        return algorithm, f"algorithm {selection}, as asked for"
    name, why = choose(size, able(selection, objective, compressor))
    return make_algorithm(PluginSpec(name, selection.options)), why


def able(selection: PluginSpec, objective: Objective, compressor: str) -> set[str]:
    """Name the algorithms among which `auto` may choose; ValueError where there is none."""
    known: dict[str, type[Algorithm[Any]]] = Algorithm.known()
    found = {
        name
        for name, member in known.items()
        if not (member.baseline or unmet(member.needs, objective))
        and selection.options.keys() <= member.options().keys()
        and (compressor == "none" or member.compressed_memory)
    }
    if not found:
        raise ValueError(f"no algorithm fits this job with the options {', '.join(selection.options)}")
    return found


def make_loss(selection: PluginSpec) -> Loss:
    """Make the loss; ValueError where there is none of that name or with such options."""
    return Loss.make(selection.name, selection.fitted(Loss.known()))


def make_algorithm(selection: PluginSpec) -> Algorithm[Any]:
    """Make the algorithm; ValueError where there is none of that name or with such options."""
    return Algorithm.make(selection.name, selection.fitted(Algorithm.known()))


def unmet(needs: frozenset[str], objective: Objective) -> str:
    """Name the first need that the objective does not meet, or nothing."""
    met = {
        "smooth penalty": not objective.threshold.any(),
        "curvature bound": objective.loss.curvature_bound is not None,
        "quadratic loss": objective.loss.quadratic,
        "small model": objective.outputs * (objective.shard.features + 1) <= 5000,
    }
    return next((need for need in sorted(needs) if not met[need]), "")


def measure(objective: Objective, tol: float, comm: Comm) -> Size:
    """Give the numbers by which an algorithm is chosen; collective."""
    rows = objective.shard.rows
    stored = np.array([len(rows.values) if isinstance(rows, CsrRows) else rows.values.size])
    return Size(
        rows=objective.shard.total,
        unknowns=objective.outputs * (objective.shard.features + int(objective.shard.intercept)),
        outputs=objective.outputs,
        numbers=int(comm.sum(stored)[0]),
        sparse=isinstance(rows, CsrRows),
        ranks=comm.size,
        tol=tol,
        quadratic=objective.loss.quadratic,
        smooth=not objective.threshold.any(),
    )
