"""Regularised nonlinear (Anderson) extrapolation of a sequence of iterates.

D. Scieur, A. d'Aspremont, F. Bach, Regularized nonlinear acceleration, Math. Prog. 179 (2020), algorithm RNA: with
the differences R = [x_1 − x_0, …, x_m − x_{m−1}] solve (RᵀR/‖RᵀR‖ + ρ I) z = 1, c = z/Σz, and take Σ c_i x_i.

The refresh of distributed SAGA: the table filled anew at w̄, and what the exact objective says of the way there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga import exchange
from mpiopt.algorithms.saga.state import AWAY, SCALE, SINCE, TRAIL, VALUE, SagaState
from mpiopt.compress.channel import Channel
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]


def extrapolated(trail: Vector, regularisation: float) -> Vector:
    """Give the extrapolation of the points trail[0], trail[1] … trail[m], shape (m + 1, …); m >= 1.

    It needs no exchange: the points are equal on all ranks. The caller must check that the objective decreases.
    """
    points = trail.reshape(len(trail), -1)
    steps = np.diff(points, axis=0)
    gram = steps @ steps.T
    norm = float(np.linalg.norm(gram, 2))
    if norm == 0.0:
        return np.array(trail[-1])
    weights = np.linalg.solve(gram / norm + regularisation * np.eye(len(gram)), np.ones(len(gram)))
    weights /= weights.sum()
    return np.asarray((weights @ points[1:]).reshape(trail.shape[1:]))


FAR_OUT = 10.0  # times the last good value: gradients there were so large that memories keep their rounding


def refresh(k: int, state: SagaState, objective: Objective, channel: Channel) -> Evaluation:
    """Fill the table at w̄: α_i = ∇f_i(w̄); all ranks then know the objective and, to an error, its gradient."""
    value, own = objective.refresh(state.w, state.table)
    state.own[...] = own
    state.local[...] = state.w
    state.place[...] = state.w
    state.control[SINCE] = state.work[AWAY] = 0.0
    value, error = exchange.refreshed(k, value, state, objective, channel)
    return Evaluation(value + objective.penalty_value(state.w), state.average.copy(), error)


def judge(
    k: int, state: SagaState, exact: Evaluation, objective: Objective, channel: Channel
) -> tuple[float, Evaluation]:
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


def _extrapolate(
    k: int, state: SagaState, exact: Evaluation, objective: Objective, channel: Channel
) -> tuple[int, Evaluation]:
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
