"""S-DANE: each rank minimises its own rows' mean, corrected by the gradient of all rows, near a common centre.

X. Jiang, A. Rodomanov, S. U. Stich, "Stabilized proximal-point methods for federated optimization", NeurIPS 2024
(arXiv 2407.07084), the algorithm without acceleration, all ranks taking part:

    x_k ≈ argmin F_k(x) + (∇F(v) − ∇F_k(v))·x + λ/2 ‖x − v‖²,  until ‖its gradient‖ <= λ/2 ‖x_k − v‖
    v ← (λ v + μ x̄ − ḡ)/(λ + μ),  x̄ = Σ p_k x_k,  ḡ = Σ p_k ∇F_k(x_k),  p_k = n_k/N

Its rounds depend on δ, how unlike the ranks' Hessians are, and not on the condition of the rows:
δ² = Σ p_k ‖∇(F_k − F)(v') − ∇(F_k − F)(v)‖² / ‖v' − v‖². Here δ is measured from one centre to the next, which costs
one more number in an exchange, and F at the new centre judges whether λ was large enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.preconditioner import positive
from mpiopt.algorithms.second_order.margin_search import Length, Line, search_length
from mpiopt.comm.threads import single
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Layout, NamedVector, PerRank, Replicated, Slot
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective
from mpiopt.objective.row_hessians import RowHessians


@dataclass(frozen=True)
class SDaneTuning:
    """Constants of the method."""

    similarity: float = 2.0  # λ/δ: the paper's
    growth: float = 4.0  # factor on λ from round to round
    short: float = 0.3  # length of a step that shows that λ was too small
    long: float = 0.9  # and that it was large enough
    least: float = 1e-6  # λ over the Hessian along the gradient: on one rank, or equal ones, δ is 0
    accuracy: float = 0.01  # of ‖∇F(v)‖: a local problem is not solved nearer than that
    newton_steps: int = 20  # of a local problem at most
    products: int = 100  # of the local Hessian in one of these steps at most
    residual: float = 0.1  # of its equations, relative


TUNING = SDaneTuning()
ALONE = Channel(single())  # for what a rank does without the others


class SDaneControl(NamedVector):
    """The prox term, and epochs for the history."""

    proximity = Slot(0)  # λ; 0: not chosen yet
    unrecorded = Slot(1)  # epochs spent before the first step


@dataclass
class SDaneState:
    """The centre with its exact value and gradient."""

    w: Replicated  # (outputs, width) v
    value: Replicated  # (1,) F(v)
    gradient: Replicated  # (outputs, width) of the loss part at v
    control: Annotated[SDaneControl, Layout.REPLICATED]
    own: PerRank  # (outputs, width) this rank's share of that gradient
    loaded: PerRank  # (1,) 1 if `own` is this rank's


class _Local(NamedTuple):
    """Where a local problem was left."""

    x: Model
    gradient: Model  # of F_k at x, ridge included
    passes: float  # over this rank's rows


@dataclass(frozen=True)
class SDane(Algorithm[SDaneState]):
    """S-DANE with local Newton steps by conjugate gradients: two exchanges of d and 2 d numbers a round. Baseline.

    ======  ========  =====================================
    symbol  field     meaning
    ======  ========  =====================================
    v       w         centre of the prox terms, the model
    F(v)    value     objective
    λ       control   weight of the prox term
    ======  ========  =====================================

    Parameters
    ----------
    proximity
        λ; 0: from the measured δ.
    """

    name: ClassVar[str] = "s-dane"
    baseline: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty"})
    proximity: float = 0.0

    def __post_init__(self) -> None:
        at_least("s-dane: proximity", self.proximity, 0)

    def blank(self, objective: Objective, size: int) -> SDaneState:
        """Return a state of zeros."""
        w = objective.zeros()
        return SDaneState(w, np.zeros(1), w.copy(), SDaneControl.zeros(), w.copy(), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> SDaneState:
        """Start at the origin, and measure how unlike the ranks are along the gradient there."""
        state = self.blank(objective, channel.size)
        state.w[...] = objective.beginning()
        value, state.own[...] = objective.evaluate(state.w)
        total = channel.sum(value, state.own)
        state.value[0] = total[0] + objective.penalty_value(state.w)
        state.gradient[...], state.loaded[0] = total[1:].reshape(state.w.shape), 1.0
        state.control.proximity = self.proximity or _first_proximity(state, objective, channel)
        state.control.unrecorded = 2.0
        return state

    def rebuild(self, state: SDaneState, objective: Objective, channel: Channel) -> None:
        """Compute this rank's share again if the number of ranks changed."""
        if not state.loaded[0]:
            state.own[...], state.loaded[0] = objective.evaluate(state.w)[1], 1.0

    def step(self, k: int, state: SDaneState, objective: Objective, channel: Channel) -> StepInfo:
        """Solve the local problems, and move the centre unless F rises."""
        control, n, total = state.control, len(objective.shard), objective.shard.total
        lam, ridge = control.proximity, objective.ridge
        local, part = _minimise(state, lam, objective), n / total
        numbers = channel.sum(part * local.x, part * local.gradient, part * local.passes)
        mean, slope = numbers[:-1].reshape(2, *state.w.shape)
        mu = float(ridge[: objective.shard.features].min(initial=math.inf)) if objective.shard.features else 0.0
        p = (mu * (mean - state.w) - slope) / (lam + mu)
        found = _search(p, state, objective, channel)
        epochs, control.unrecorded = control.unrecorded + float(numbers[-1]) + 2.0, 0.0
        if not self.proximity:
            control.proximity = _next_proximity(lam, found.t)
        if found.t == 0.0:
            return StepInfo(epochs, lam, Evaluation(float(state.value[0]), state.gradient.copy()))
        v = state.w + found.t * p
        value, state.own[...] = objective.evaluate(v)
        sums = channel.sum(value, state.own)
        value, state.gradient[...] = float(sums[0]) + objective.penalty_value(v), sums[1:].reshape(v.shape)
        state.w[...], state.value[0] = v, value
        return StepInfo(epochs, lam, Evaluation(value, state.gradient.copy()))


def _search(p: Model, state: SDaneState, objective: Objective, channel: Channel) -> Length:
    """Find how far to go from the centre along p, on the margins; collective."""
    ridge, w = objective.ridge, state.w
    slope = float(((state.gradient + ridge * w) * p).sum())
    numbers = (float((ridge * x * y).sum()) for x, y in ((w, w), (w, p), (p, p)))
    return search_length(
        Line(objective.predict(w), objective.predict(p), float(state.value[0]), slope, *numbers), objective, channel
    )


def _next_proximity(lam: float, t: float) -> float:
    """Return the next λ: more after a step that had to be shortened, less after one that could be longer."""
    if t < TUNING.short:
        return lam * TUNING.growth
    return lam / TUNING.growth if t > TUNING.long else lam


def _first_proximity(state: SDaneState, objective: Objective, channel: Channel) -> float:
    """Return λ from the ranks' Hessians along the gradient: one pass and one exchange; collective."""
    g = state.gradient + objective.ridge * state.w
    norm = float((g * g).sum())
    if norm == 0.0:
        return 1.0
    part = len(objective.shard) / objective.shard.total
    share = RowHessians.at(objective, objective.predict(state.w)).product(g).share
    squares = float((share * share).sum()) / part if part else 0.0
    sums = channel.sum(squares, share)
    whole = float((sums[1:] ** 2).sum())
    unlike = math.sqrt(max(float(sums[0]) - whole, 0.0) / norm)
    return max(TUNING.similarity * unlike, TUNING.least * math.sqrt(whole / norm)) or 1.0


def _minimise(state: SDaneState, lam: float, objective: Objective) -> _Local:
    """Minimise this rank's problem by Newton's steps, as nearly as the paper asks for; no exchange.

    It is that of the mean of its rows times p_k, so that losses and gradients are this rank's shares.
    """
    ridge, part = objective.ridge, len(objective.shard) / objective.shard.total
    v, whole = state.w, state.gradient + objective.ridge * state.w
    if not part:
        return _Local(v, whole, 0.0)
    pull, linear = part * lam, part * state.gradient - state.own
    least = part * TUNING.accuracy * length(whole)
    x, share, passes = v, state.own, 0.0
    for _ in range(TUNING.newton_steps):
        move = x - v
        slopes = part * ridge * x + linear + pull * move  # of the quadratic part
        rest = share + slopes
        if length(rest) <= max(0.5 * pull * length(move), least):
            break
        margins, bend = objective.predict(x), part * ridge + pull
        p, along, products = _newton_step(rest, RowHessians.at(objective, margins), bend)
        quadratic = float((0.5 * part * ridge * x * x + linear * x + 0.5 * pull * move * move).sum())
        start = objective.evaluate(x)[0] + quadratic
        numbers = (float((q * p).sum()) for q in (rest, slopes, bend * p))
        slope, b, c = numbers
        found = search_length(Line(margins, along, start, slope, 2.0 * quadratic, b, c), objective, ALONE)
        passes += products + 2.0
        if found.t == 0.0:
            break
        x = x + found.t * p
        share = objective.evaluate(x)[1]
    return _Local(x, share / part + ridge * x, passes)


def _newton_step(rest: Model, hessians: RowHessians, bend: Model) -> tuple[Model, Model, int]:
    """Solve (this rank's Hessian + bend) p = -rest by conjugate gradients; return p, its margins and the products."""
    inverse = 1.0 / positive(hessians.diagonal() + bend)
    p, along, r = np.zeros_like(rest), np.zeros((len(hessians.c), len(rest))), -rest
    q = inverse * r
    first = rz = float((r * q).sum())
    for j in range(1, TUNING.products + 1):
        product = hessians.product(q)
        hq = product.share + bend * q
        curvature = float((q * hq).sum())
        if not curvature > 0.0:
            return (p, along, j) if j > 1 else (q, product.margins, j)
        t = rz / curvature
        p, along, r = p + t * q, along + t * product.margins, r - t * hq
        z = inverse * r
        before, rz = rz, float((r * z).sum())
        if rz <= TUNING.residual**2 * first:
            break
        q = z + (rz / before) * q
    return p, along, j


def length(x: Model) -> float:
    """Return ‖x‖."""
    return float(np.sqrt((x * x).sum()))
