"""From a job and a shard to the problem: the loss, the penalty, the algorithm, and whether they fit together."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.cost_model import PASSES, Size, choose, models, suitable
from mpiopt.algorithms.portfolio import Portfolio
from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Job, Model
from mpiopt.core.config.spec import PluginSpec
from mpiopt.data.offsets import STAYS, labels_of
from mpiopt.data.shard import CsrRows, Shard
from mpiopt.objective.losses.base import LINKS_NOT_CONVEX, Loss
from mpiopt.objective.losses.tweedie import Tweedie
from mpiopt.objective.objective import Objective
from mpiopt.objective.offset_loss import with_offsets
from mpiopt.objective.penalties.base import Penalty
from mpiopt.training import network_model
from mpiopt.training.memory_needs import Room, needed_nbytes, room_of, without_matrix

SMALL_MODEL = 5000  # unknowns: a Hessian of this size takes 200 MB
NO_MATRIX = ", without a matrix of curvature, for which there is not enough memory"
# An offset o is a factor exp(o) of the mean, with the power of exp(o) that the weight gets, or a shift of the target.
# With other losses it stays in the margin; then an exposure is for those with a logarithmic link.
LINKS = {"poisson": "log", "gamma": "log:0", "squared": "identity", "huber": "identity", "quantile": "identity"}
SEVERAL = 3  # classes: softmax has an output for each
DEFAULT_LOSS = {"binary": "logistic", "multiclass": "softmax", "real": "squared", "count": "poisson"}


def target_of(model: Model) -> str:
    """Return the kind of labels that the loss takes; "auto" if the labels decide about the loss."""
    return "auto" if model.loss.name == "auto" else make_loss(model.loss).target


def link_of(model: Model) -> str:
    """Return how the loss takes the offset of a row, as `mpiopt.data.offsets.without_offset` and `STAYS` say it.

    "" stands for not at all: the loss has several outputs, or is not known yet.
    """
    if model.loss.name == "auto":
        return ""
    loss = make_loss(model.loss)
    if isinstance(loss, Tweedie):
        return f"log:{2.0 - loss.power!r}"
    if loss.outputs(SEVERAL) > 1:
        return ""
    return LINKS.get(loss.name, f"{STAYS}:log" if loss.link == "log" else STAYS)


def penalty(l1: float, l2: float) -> Penalty:
    """Return the penalty with these strengths that has no other part."""
    names = {(False, False): "none", (False, True): "ridge", (True, False): "lasso", (True, True): "elastic-net"}
    positive = {key: value for key, value in (("l1", l1), ("l2", l2)) if value > 0}
    return Penalty.make(names[l1 > 0, l2 > 0], positive)


def pose(model: Model, shard: Shard, target: str, classes: NDArray[Any] | None) -> Objective:
    """Return the objective on this shard."""
    chosen = model.loss if model.loss.name != "auto" else replace(model.loss, name=DEFAULT_LOSS[target])
    h, loss = penalty(model.l1, model.ridge(shard.total)), make_loss(chosen)
    loss = with_offsets(loss) if shard.has_offsets else loss
    return Objective(loss, h, shard, 2 if classes is None else len(classes))


def refuse_infinite(objective: Objective, source: str, comm: Comm) -> None:
    """Raise ValueError if the losses at w = 0, squares of their slopes, or their lowest values have no finite sum.

    Collective.
    """
    shard, loss = objective.shard, objective.loss
    if loss.target in ("binary", "multiclass"):
        return
    zero = np.zeros((len(shard), objective.outputs))
    with np.errstate(over="ignore", invalid="ignore"):
        parts = (loss.value(zero, shard.label), loss.slope(zero, shard.label)[:, 0], loss.lowest(shard.label))
        sums = comm.sum(np.array([np.abs(shard.weight * part).sum() for part in parts]))
    largest = float(comm.max(np.array([np.abs(labels_of(shard.label)).max(initial=0.0)]))[0])
    with np.errstate(over="ignore"):
        finite = bool(np.isfinite(sums).all() and np.isfinite(np.square(sums[1])))
    if not finite:
        raise ValueError(
            f"{source}: labels up to {largest:g} are too large for the {loss.name} loss, whose sum is not finite; "
            "divide the labels by a constant"
        )


def pick(
    spec: PluginSpec,
    objective: Objective,
    tol: float,
    comm: Comm,
    compressor: str = "none",
    link: tuple[float, float] | None = None,
) -> tuple[Portfolio, str]:
    """Return the algorithm with those that may go on in its place, and a line that says why; collective.

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
    link : tuple of float, optional
        Seconds of a message and of a byte; by default they are measured where the ranks are on several hosts.

    Raises
    ------
    ValueError
        If the problem lacks what the algorithm needs, or no algorithm fits the job or the memory.
    """
    size = measure(objective, tol, comm)
    room = room_of(len(objective.shard), comm)
    if spec.name == "auto":
        if link is None and room.sharing < comm.size:
            latency, byte = network_model.link(size.unknowns, comm)
            link = latency / math.log2(comm.size), byte
        size = size if link is None else size.with_link(*link)
        return _pick_that_fits(spec, objective, size, compressor, room)
    algorithm, why = pick_for(spec, objective, size, compressor)
    fitted = _fitted(algorithm, objective, size.ranks, room)
    if fitted is None:
        least = needed_nbytes(without_matrix(algorithm) or algorithm, objective, room.rows, size.ranks)
        raise ValueError(
            f"{spec.name} {_lack(least, room)}; use --algorithm auto, more nodes or fewer ranks of a node"
        )
    return Portfolio((fitted,)), why + ("" if fitted is algorithm else NO_MATRIX)


def _pick_that_fits(
    spec: PluginSpec, objective: Objective, size: Size, compressor: str, room: Room
) -> tuple[Portfolio, str]:
    """Return the algorithms whose memory is available, the cheapest first, and a line that says why."""
    fits: dict[str, Algorithm[Any]] = {}
    lacks: list[tuple[float, str]] = []
    known = candidates(spec, objective, compressor) & models().keys()  # no other has an estimate
    if not known:
        raise ValueError(f"no algorithm fits this job with the options {', '.join(spec.options)}; name one")
    asked = {name: make_algorithm(PluginSpec(name, spec.options)) for name in known}
    for name, algorithm in asked.items():
        found = _fitted(algorithm, objective, size.ranks, room)
        if found is not None:
            fits[name] = found
        elif name in models():
            least = needed_nbytes(without_matrix(algorithm) or algorithm, objective, room.rows, size.ranks)
            lacks.append((least, name))
    if not fits.keys() & models().keys():
        least, name = min(lacks)
        raise ValueError(f"no algorithm fits the memory: {name} {_lack(least, room)}; use more nodes")
    name, why = choose(size, fits)
    why += "" if fits[name] is asked[name] else NO_MATRIX
    others = [fits[other] for other in suitable(size, fits) if other != name and compressor == "none"]
    short = f"; too little memory for {', '.join(sorted(n for _, n in lacks))}" if lacks else ""
    return Portfolio((fits[name], *others), size), why + short


def _fitted(algorithm: Algorithm[Any], objective: Objective, ranks: int, room: Room) -> Algorithm[Any] | None:
    """Return the algorithm, or its form without a matrix of curvature, if its memory is available; else None."""
    for form in (algorithm, without_matrix(algorithm)):
        if form is not None and needed_nbytes(form, objective, room.rows, ranks) <= room.nbytes:
            return form
    return None


def _lack(needed: float, room: Room) -> str:
    shared = f", shared by {room.sharing} ranks" if room.sharing > 1 else ""
    return f"needs {needed / 1e9:.3g} GB on each rank, and {room.nbytes / 1e9:.3g} GB are available{shared}"


def pick_for(
    spec: PluginSpec, objective: Objective, size: Size, compressor: str = "none"
) -> tuple[Algorithm[Any], str]:
    """Do as `pick` for a problem of the given size; local."""
    if spec.name != "auto":
        algorithm = make_algorithm(spec)
        _refuse_unmet(spec, unmet(algorithm.needs, objective))
        if objective.bounds is not None:
            _refuse_beside_bounds(spec)
        if objective.groups is not None:
            _refuse_beside_groups(spec)
        return algorithm, f"algorithm {spec}, as asked for"
    name, why = choose(size, candidates(spec, objective, compressor))
    return make_algorithm(PluginSpec(name, spec.options)), why


def refuse_unfit_algorithm(job: Job) -> None:
    """Raise ValueError, before anything is read, if the algorithm needs what the model has not."""
    if job.algorithm.name == "auto":
        return
    met = {"smooth penalty": job.model.l1 == 0.0}
    if job.model.loss.name != "auto":
        met |= _met_by_loss(make_loss(job.model.loss))
    if job.model.bounded:
        _refuse_beside_bounds(job.algorithm)
    if job.model.l1_groups:
        _refuse_beside_groups(job.algorithm)
    needs = make_algorithm(job.algorithm).needs
    _refuse_unmet(job.algorithm, next((need for need in sorted(needs) if not met.get(need, True)), ""))


def _refuse_beside_bounds(spec: PluginSpec) -> None:
    if not make_algorithm(spec).takes_bounds:
        known: dict[str, type[Algorithm[Any]]] = Algorithm.known()
        able = ", ".join(sorted(name for name, member in known.items() if member.takes_bounds))
        raise ValueError(f"{spec.name} takes no bounds on coefficients; use --algorithm {able}")


def _refuse_beside_groups(spec: PluginSpec) -> None:
    if not make_algorithm(spec).takes_groups:
        known: dict[str, type[Algorithm[Any]]] = Algorithm.known()
        able = ", ".join(sorted(name for name, member in known.items() if member.takes_groups))
        raise ValueError(f"{spec.name} takes no l1_groups; use --algorithm {able}")


def _refuse_unmet(spec: PluginSpec, lacking: str) -> None:
    if lacking:
        raise ValueError(f"{spec.name} needs a {lacking}; use --algorithm auto")


def _met_by_loss(loss: Loss) -> dict[str, bool]:
    return {"curvature bound": loss.curvature_bound is not None, "quadratic loss": loss.quadratic}


def candidates(spec: PluginSpec, objective: Objective, compressor: str) -> set[str]:
    """Return the names of the algorithms that `auto` may choose; ValueError if there are none."""
    known: dict[str, type[Algorithm[Any]]] = Algorithm.known()
    found = {
        name
        for name, member in known.items()
        if not (member.baseline or unmet(member.needs, objective))
        and (member.takes_bounds or objective.bounds is None)
        and (member.takes_groups or objective.groups is None)
        and spec.options.keys() <= member.options().keys()
        and (compressor == "none" or (member.compressed_memory and math.isinf(member.largest_variance)))
    }
    if not found and objective.groups is not None:
        raise ValueError(
            "l1_groups takes no compressed exchanges and the options of working-set only; leave them out"
        )
    if not found and objective.bounds is not None:
        raise ValueError(
            "bounds on coefficients take no compressed exchanges, and no options but those of working-set"
        )
    if not found:
        raise ValueError(f"no algorithm fits this job with the options {', '.join(spec.options)}")
    return found


def make_loss(spec: PluginSpec) -> Loss:
    """Return the loss of a specification; ValueError if its name or an option is unknown, or it is not convex."""
    if spec.name in LINKS_NOT_CONVEX and "link" in spec.options:
        raise ValueError(f"{spec.name} takes no link: {LINKS_NOT_CONVEX[spec.name]}")
    return Loss.make(spec.name, spec.fitted(Loss.known()))


def make_algorithm(spec: PluginSpec) -> Algorithm[Any]:
    """Return the algorithm of a specification; ValueError if its name or an option is unknown."""
    return Algorithm.make(spec.name, spec.fitted(Algorithm.known()))


def unmet(needs: frozenset[str], objective: Objective) -> str:
    """Return the first need that the objective does not meet; "" if it meets all."""
    met = {
        **_met_by_loss(objective.loss),
        "smooth penalty": not objective.threshold.any(),
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
        smooth=not objective.threshold.any() and objective.bounds is None,
        condition=condition(objective, comm),
        knee=objective.loss.knee is not None,
        rough=_roughness(objective.loss),
    )


def _roughness(loss: Loss) -> float:
    """Return the factor on the passes of methods whose steps are not exact."""
    if loss.jumps and loss.knee is None:
        return PASSES.rough_hinge
    return PASSES.rough_unbounded if loss.curvature_bound is None else 1.0


def condition(objective: Objective, comm: Comm) -> float:
    """Return bound · mean ‖x‖²/l2, the scale of the Hessian's condition; 0 without a bound or l2; collective."""
    bound, l2 = objective.loss.curvature_bound, float(objective.ridge.max(initial=0.0))
    if bound is None or l2 == 0.0:
        return 0.0
    mean = float(comm.sum(np.array([objective.row_norms().sum()]))[0]) / objective.shard.total
    return bound * mean / l2
