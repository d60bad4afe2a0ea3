"""DLAS-R-FTC: gradient steps whose length the ranks of a directed graph agree on, and then on the model itself.

    g_i = ∇f_i(x);   η_i by AdGD from g_i (`mpiopt.adaptive`);   γ from all η_i by a rule (`mpiopt.stepsizes`)
    unmerged:  x ← mean of x − γ g_i          merged:  x ← x − γ · mean of g_i, the numbers of the rule sent along

Both give the same iterates; merged saves a coordination in each. After A. I. Rikos, N. Bastianello, T. Charalambous,
K. H. Johansson, CDC 2025 (arXiv 2508.05887): the steps and their mean are theirs, the coordination of the models is
our reconstruction. An iteration is a generator: it yields what it asks of all ranks and gets the answer, the same
bits on all of them; it knows no communicator.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.adaptive import Pace, Tuning, adapted, slope
from mpiopt.state import Derived, PerRank, Replicated
from mpiopt.stepsizes import Own, StepSize, Way

Vector = NDArray[np.float64]
SETTLED, BEGUN = range(2)  # places in State.common


@dataclass
class State:
    """The model and what the steps follow from."""

    w: Replicated  # x_t
    before: Replicated  # x_{t-1}
    mean: Replicated  # ḡ_{t-1}, where the rule looks at it
    own: PerRank  # g_{i,t-1}
    local: PerRank  # (3,) η_i, ρ_i, Lf_i
    whole: Replicated  # (3,) the same of the mean gradient
    common: Replicated  # (2,) the last maximum of the ranks' numbers, 1 once begun
    limit: PerRank  # (1,) L_i
    loaded: PerRank  # (1,) 1: the fields of one rank are this rank's
    talk: Derived = None  # who answers


class Ask(NamedTuple):
    """What an iteration asks of all ranks: the MEAN or the MAX of x, elementwise."""

    way: Way
    x: Vector


Iteration = Generator[Ask, Vector, float]
Form = Callable[["State", Vector, StepSize, Tuning], Iteration]


def blank(w: Vector) -> State:
    """Give the state at `w` before the first iteration, without a step; `w` is not copied."""
    like = np.zeros_like
    return State(w, like(w), like(w), like(w), np.zeros(3), np.zeros(3), np.zeros(2), np.zeros(1), np.zeros(1))


def begin(state: State, step: float, limit: float) -> None:
    """Forget all but the model; `step` is this rank's first η_i, `limit` its L_i."""
    for array in (state.before, state.mean, state.own, state.common):
        array[...] = 0.0
    state.local[:] = Pace(step)
    state.limit[:], state.loaded[:] = limit, 1.0


def merged(state: State, g: Vector, rule: StepSize, tuning: Tuning) -> Iteration:
    """Do an iteration with one mean of d numbers, and one more where the rule takes a mean; gives γ.

    g: ∇f_i at state.w. Without a common step what is averaged is η_i g_i.
    """
    own = seen(state, g, rule, tuning)
    sent = g if rule.common else own.step * g
    numbers = [rule.number(own)] if rule.way is Way.MEAN else []
    found = yield Ask(Way.MEAN, np.concatenate([numbers, sent.reshape(-1)]))
    mean = found[len(numbers) :].reshape(g.shape)
    if rule.way is Way.MEAN:
        agreed = float(found[0])
    else:
        agreed = yield from settled(state, own, rule)
    if rule.way is Way.GRADIENT:
        agreed = yield from whole_step(state, mean, own, tuning)
    gamma = rule.step(agreed, own)
    move(state, g, state.w - (gamma if rule.common else 1.0) * mean)
    return gamma


def unmerged(state: State, g: Vector, rule: StepSize, tuning: Tuning) -> Iteration:
    """Do an iteration as written: first the step is agreed on, then the model; gives γ."""
    own = seen(state, g, rule, tuning)
    if rule.way is Way.MEAN:
        agreed = float((yield Ask(Way.MEAN, np.array([rule.number(own)])))[0])
    else:
        agreed = yield from settled(state, own, rule)
    if rule.way is Way.GRADIENT:
        mean = yield Ask(Way.MEAN, g.reshape(-1))
        agreed = yield from whole_step(state, mean.reshape(g.shape), own, tuning)
    gamma = rule.step(agreed, own)
    found = yield Ask(Way.MEAN, (state.w - gamma * g).reshape(-1))
    move(state, g, found.reshape(g.shape))
    return gamma


FORMS: dict[str, Form] = {"merged": merged, "unmerged": unmerged}


def seen(state: State, g: Vector, rule: StepSize, tuning: Tuning) -> Own:
    """Bring this rank's own step up to date with its gradient."""
    if state.common[BEGUN]:
        now = slope(g - state.own, state.w - state.before)
        state.local[:] = adapted(Pace(*state.local.tolist()), now, tuning, rule.steepness)
    return Own(float(state.local[0]), float(state.limit[0]))


def settled(state: State, own: Own, rule: StepSize) -> Generator[Ask, Vector, float]:
    """Give the maximum of the numbers, where the rule takes one: anew, or that of the first round."""
    if rule.way is Way.MAX or (rule.way is Way.ONCE and not state.common[BEGUN]):
        state.common[SETTLED] = (yield Ask(Way.MAX, np.array([rule.number(own)])))[0]
    return float(state.common[SETTLED])


def whole_step(state: State, mean: Vector, own: Own, tuning: Tuning) -> Generator[Ask, Vector, float]:
    """Give AdGD's step for the mean function; the first is the least of the ranks'."""
    if state.common[BEGUN]:
        now = slope(mean - state.mean, state.w - state.before)
        state.whole[:] = adapted(Pace(*state.whole.tolist()), now, tuning)
    else:
        state.whole[:] = Pace(-float((yield Ask(Way.MAX, np.array([-own.step])))[0]))
    state.mean[...] = mean
    return float(state.whole[0])


def move(state: State, g: Vector, x: Vector) -> None:
    """Go to x, remembering where this was."""
    state.before[...], state.own[...], state.w[...] = state.w, g, x
    state.common[BEGUN] = 1.0
