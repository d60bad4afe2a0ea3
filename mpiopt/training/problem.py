"""From a job and a shard to the problem: the loss, the penalty, the algorithm, and whether they fit together."""

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

SMALL_MODEL = 5000  # unknowns: a Hessian of this size takes 200 MB
DEFAULT_LOSS = {"binary": "logistic", "multiclass": "softmax", "real": "squared", "count": "poisson"}


def target_of(model: Model) -> str:
    """Return the kind of labels that the loss takes; "auto" if the labels decide about the loss."""
    return "auto" if model.loss.name == "auto" else make_loss(model.loss).target


def penalty(l1: float, l2: float) -> Penalty:
    """Return the penalty with these strengths that has no other part."""
    names = {(False, False): "none", (False, True): "ridge", (True, False): "lasso", (True, True): "elastic-net"}
    positive = {key: value for key, value in (("l1", l1), ("l2", l2)) if value > 0}
    return Penalty.make(names[l1 > 0, l2 > 0], positive)


def pose(model: Model, shard: Shard, target: str, classes: NDArray[Any] | None) -> Objective:
    """Return the objective on this shard."""
    chosen = model.loss if model.loss.name != "auto" else replace(model.loss, name=DEFAULT_LOSS[target])
    h = penalty(model.l1, model.ridge(shard.total))
    return Objective(make_loss(chosen), h, shard, 2 if classes is None else len(classes))


def pick(
    spec: PluginSpec, objective: Objective, tol: float, comm: Comm, compressor: str = "none"
) -> tuple[Algorithm[Any], str]:
    """Return the algorithm, and a line that says why; collective.

    Parameters
    ----------
    spec : PluginSpec
        The algorithm that the user asks for, or "auto".
    objective : Objective
        The objective on this rank's rows.
    tol : float
        Tolerance of the certificate.
    comm : Comm
        The ranks.
    compressor : str
        Name of the compressor; with one, only an algorithm is chosen that can use it.

    Raises
    ------
    ValueError
        If the problem lacks what the algorithm needs, or no algorithm fits.
    """
    return pick_for(spec, objective, measure(objective, tol, comm), compressor)


def pick_for(
    spec: PluginSpec, objective: Objective, size: Size, compressor: str = "none"
) -> tuple[Algorithm[Any], str]:
    """Do as `pick` for a problem of the given size; local."""
    if spec.name != "auto":
        algorithm = make_algorithm(spec)
        lacking = unmet(algorithm.needs, objective)
        if lacking:
            raise ValueError(f"{spec.name} needs a {lacking}; use --algorithm auto")
        return algorithm, f"algorithm {spec}, as asked for"
    name, why = choose(size, candidates(spec, objective, compressor))
    return make_algorithm(PluginSpec(name, spec.options)), why


def candidates(spec: PluginSpec, objective: Objective, compressor: str) -> set[str]:
    """Return the names of the algorithms that `auto` may choose; ValueError if there are none."""
    known: dict[str, type[Algorithm[Any]]] = Algorithm.known()
    found = {
        name
        for name, member in known.items()
        if not (member.baseline or unmet(member.needs, objective))
        and spec.options.keys() <= member.options().keys()
        and (compressor == "none" or member.compressed_memory)
    }
    if not found:
        raise ValueError(f"no algorithm fits this job with the options {', '.join(spec.options)}")
    return found


def make_loss(spec: PluginSpec) -> Loss:
    """Return the loss of a specification; ValueError if its name or an option is unknown."""
    return Loss.make(spec.name, spec.fitted(Loss.known()))


def make_algorithm(spec: PluginSpec) -> Algorithm[Any]:
    """Return the algorithm of a specification; ValueError if its name or an option is unknown."""
    return Algorithm.make(spec.name, spec.fitted(Algorithm.known()))


def unmet(needs: frozenset[str], objective: Objective) -> str:
    """Return the first need that the objective does not meet; "" if it meets all."""
    met = {
        "smooth penalty": not objective.threshold.any(),
        "curvature bound": objective.loss.curvature_bound is not None,
        "quadratic loss": objective.loss.quadratic,
        "small model": objective.outputs * (objective.shard.features + 1) <= SMALL_MODEL,
    }
    return next((need for need in sorted(needs) if not met[need]), "")


def measure(objective: Objective, tol: float, comm: Comm) -> Size:
    """Return the numbers by which an algorithm is chosen; collective."""
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
