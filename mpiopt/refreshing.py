"""The refresh of distributed SAGA: the table filled anew at w̄, and what the exact objective says of the way there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mpiopt import exchange
from mpiopt.channel import Channel
from mpiopt.exact import Exact, evaluate_exact
from mpiopt.extrapolation import extrapolated
from mpiopt.local_steps import AWAY, SCALE, SINCE, TRAIL, VALUE
from mpiopt.objective import Objective

if TYPE_CHECKING:
    from mpiopt.algorithms.saga import SagaState

FAR_OUT = 10.0  # times the last good value: gradients there were so large that memories keep their rounding


def refresh(k: int, state: SagaState, objective: Objective, channel: Channel) -> Exact:
    """Fill the table at w̄: α_i = ∇f_i(w̄); all ranks then know the objective and, to an error, its gradient."""
    value, own = objective.refresh(state.w, state.table)
    state.own[...] = own
    state.local[...] = state.w
    state.place[...] = state.w
    state.control[SINCE] = state.work[AWAY] = 0.0
    value, error = exchange.refreshed(k, value, state, objective, channel)
    return Exact(value + objective.penalty_value(state.w), state.average.copy(), error)


def judge(k: int, state: SagaState, exact: Exact, objective: Objective, channel: Channel) -> tuple[float, Exact]:
    """Accept the refreshed model, or a point on the way back to the last good one; give the extra epochs.

    Where even a sixteenth of the way does not help, the last good model is kept, and the local steps are told.
    """
    control, tried = state.control, 0
    far = state.w - state.best
    while not exact.value <= control[VALUE] + 1e-13 * abs(control[VALUE]):
        tried += 1
        if not exact.value <= FAR_OUT * abs(control[VALUE]):
            exchange.forget(state)
        state.w[...] = state.best + (0.25**tried * far if tried <= 2 and np.isfinite(far).all() else 0.0)
        exact = refresh(k, state, objective, channel)
        if tried > 2:
            break
    if tried:
        exact = exchange.refined(k, tried, exact, state, objective, channel)
    noisy = channel.compresses and channel.memory == "none"  # no step is short enough for noise that stays
    if control[SCALE] < 1e-9 and not noisy:
        raise ValueError("saga diverges at any step size: are the data finite, and the penalty not negative?")
    control[VALUE] = exact.value
    state.best[...] = state.w
    spent, exact = _extrapolate(k, state, exact, objective, channel)
    return tried + spent + float(state.steps.adapt(state, exact, tried, objective, channel)), exact


def _extrapolate(k: int, state: SagaState, exact: Exact, objective: Objective, channel: Channel) -> tuple[int, Exact]:
    """Once in m refreshes try the extrapolated model, and take it if F is lower there; give the passes spent."""
    trail = state.trail
    if not len(trail):
        return 0, exact
    trail[:-1] = trail[1:]
    trail[-1] = state.w
    state.control[TRAIL] += 1.0
    if state.control[TRAIL] < len(trail):
        return 0, exact
    state.control[TRAIL] = 1.0
    tries = [extrapolated(trail, 10.0**-p) for p in (2, 5, 8)]
    values = [evaluate_exact(objective, w, channel).value for w in tries]
    best = int(np.argmin(values))
    if not values[best] < state.control[VALUE]:
        return len(tries), exact
    state.w[...] = tries[best]
    exact = refresh(k, state, objective, channel)
    state.control[VALUE] = exact.value
    state.best[...] = trail[-1] = state.w
    return len(tries) + 1, exact
