"""The θ of the negative binomial loss where it is estimated: that of the largest profile likelihood.

The coefficients at a θ and the θ at their margins are found in turn (W. Venables, B. Ripley, Modern applied
statistics with S, 2002, section 7.4). The two are nearly independent, so a few turns suffice, and secants through the
last two make them fewer. A penalty is part of what the coefficients minimise.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import Stopping
from mpiopt.core.config.spec import PluginSpec
from mpiopt.core.history import Clock
from mpiopt.data.offsets import apart
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.losses.negative_binomial import NegativeBinomial
from mpiopt.objective.objective import Objective
from mpiopt.objective.offset_loss import with_offsets
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.loop import run
from mpiopt.training.problem import pick
from mpiopt.training.run_state import RunPlan

logger = logging.getLogger(__name__)

SHARPER = 1e-6  # factor on the tolerance for the fits of the profile: the error of θ goes with the root of a gap
SHARPEST = 1e-16  # tolerance of these fits: θ is then exact to about 1e-8
ENOUGH = 1e-9  # change of log θ that ends the turns
TURNS = 25  # at most; the change falls by a factor of ten and more in each
STEPS = 60  # of Newton's method for log θ at given margins
LONGEST = 2.0  # step of log θ
TOO_LATE = "theta is not estimated: the run ended before"
LARGEST = 1e7  # θ that cannot be told from infinity: digits of the likelihood cancel


class Profile(NamedTuple):
    """The objective with the estimated θ, and a line that says so; "" if nothing was to be estimated."""

    objective: Objective
    line: str


def profiled(objective: Objective, stopping: Stopping, comm: Comm, stop: StopSignal) -> Profile:
    """Estimate θ if the loss asks for it, and begin at the coefficients that belong to it; collective.

    Raises
    ------
    ValueError
        On all ranks: the counts vary no more than Poisson's, so that θ grows for ever.
    """
    loss = objective.loss
    if not isinstance(loss, NegativeBinomial) or not loss.profile:
        return Profile(objective, "")
    stopping = replace(stopping, tol=max(SHARPER * stopping.tol, SHARPEST))
    epochs, turn, before, ended, began = 0.0, 0, (0.0, 0.0), False, time.perf_counter()

    def fitted(posed: Objective) -> Objective | None:
        nonlocal epochs, ended
        algorithm, _ = pick(PluginSpec(), posed, stopping.tol, comm)
        spent = float(comm.max(np.array([time.perf_counter() - began]))[0])
        left = replace(stopping, max_seconds=max(stopping.max_seconds - spent, 0.0))
        now = run(RunPlan(left), posed, algorithm, Channel(comm), stop, Clock(), lambda row: None)
        epochs += now.epochs
        # All ranks know this alike; a signal may have reached only some of them by now.
        ended = now.ending == "signal" or now.reason.startswith("max_seconds")
        return None if now.ending == "no optimum" else replace(posed, initial=np.array(now.state.w))

    poisson = Loss.make("poisson")
    posed = fitted(replace(objective, loss=with_offsets(poisson) if objective.shard.has_offsets else poisson))
    if posed is None:  # the run will say so
        return Profile(objective, "")
    if ended:
        return Profile(objective, _told(TOO_LATE, comm))
    _refuse_poisson(posed, comm)
    theta = _likeliest(loss, posed, comm)
    for turn in range(1, TURNS + 1):
        posed = fitted(replace(posed, loss=replace(loss, theta=theta)))
        if posed is None:
            return Profile(objective, "")
        change = math.log(_likeliest(replace(loss, theta=theta), posed, comm) / theta)
        if abs(change) <= ENOUGH or ended:
            break
        fall = before[1] - change
        secant = change * (math.log(theta) - before[0]) / fall if turn > 1 and fall else change
        before = (math.log(theta), change)
        theta *= math.exp(min(max(secant, -LONGEST), LONGEST))
    else:
        ended = True
    took = f"of the largest profile likelihood ({turn} turns, {epochs:.1f} epochs)"
    if ended:
        return Profile(posed, _told(f"theta {theta:.8g} is not yet that {took}", comm))
    return Profile(posed, f"theta {theta:.8g}: that {took}")


def _told(line: str, comm: Comm) -> str:
    """Warn, since the run may be certified at the θ that it has; return the line; local."""
    if comm.rank == 0:
        logger.warning(line)
    return line


def _margins(objective: Objective) -> NDArray[np.float64]:
    return objective.predict(objective.beginning())


def _refuse_poisson(objective: Objective, comm: Comm) -> None:
    """Raise ValueError if the likelihood falls with 1/θ at 0, given the means of Poisson's model; collective."""
    z, y = apart(_margins(objective), objective.shard.label)
    s, mean = objective.shard.weight, np.exp(z[:, 0])
    if not float(comm.sum(np.array([s @ ((y - mean) ** 2 - y)]))[0]) > 0.0:
        raise ValueError(
            "theta grows for ever: the counts vary no more than Poisson's; use the loss poisson, or give a theta"
        )


def _likeliest(loss: NegativeBinomial, objective: Objective, comm: Comm) -> float:
    """Return the θ of the largest likelihood at the margins of a model; collective."""
    (z, y), s = apart(_margins(objective), objective.shard.label), objective.shard.weight
    place = math.log(loss.theta)
    for _ in range(STEPS):
        parts = replace(loss, theta=math.exp(place)).curve_of_theta(z, y)
        slope, bend = comm.sum(np.array([s @ part for part in parts])).tolist()
        step = -slope / bend if bend < 0.0 else math.copysign(LONGEST, slope)
        step = min(max(step, -LONGEST), LONGEST)
        place += step
        if place > math.log(LARGEST):
            raise ValueError(f"theta is above {LARGEST:g}: the counts vary as Poisson's; use the loss poisson")
        if abs(step) <= 0.01 * ENOUGH:
            break
    return math.exp(place)
