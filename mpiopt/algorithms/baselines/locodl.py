"""LoCoDL: gradient steps on every rank, and now and then an exchange of compressed differences.

L. Condat, A. Maranjyan, P. Richtárik, "LoCoDL: Communication-efficient distributed learning with local training and
compression", ICLR 2025 (arXiv 2403.04348). The objective is (1/K) Σ f_k + g over K ranks; half of the ridge is g, the
rest is in f_k. All ranks know y and v, and (1/K) Σ u_k + v = 0:

    x_k ← x_k − γ (∇f_k(x_k) − u_k),  y ← y − γ (∇g(y) − v),
    and with probability p:  d_k = C(x_k − y),  d = (1/2K) Σ d_k,
    x_k ← (1 − ρ) x_k + ρ (y + d),  y ← y + ρ d,  u_k += η (d − d_k),  v += η d,  η = p χ/(γ (1 + 2ω))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.compress.channel import Channel
from mpiopt.core import rng
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Layout, NamedVector, PerRank, Replicated, Slot
from mpiopt.objective import curvature
from mpiopt.objective.objective import Objective

DIFFERENCE_STREAM, LENGTH_STREAM = 24, 25  # of the random numbers that compress, and that end a round
MOST_STEPS = 100.0  # 1/p at most: without a ridge κ has no bound


class LocodlControl(NamedVector):
    """Constants of the run, and epochs for the history."""

    gamma = Slot(0)  # γ
    probability = Slot(1)  # p
    mixing = Slot(2)  # ρ = χ
    rate = Slot(3)  # η
    unrecorded = Slot(4)  # epochs spent before the first step


@dataclass
class LocodlState:
    """The shared and the local iterate, each with its control variate."""

    w: Replicated  # (outputs, width) y
    shared: Replicated  # (outputs, width) v
    local: PerRank  # (outputs, width) x_k
    own: PerRank  # (outputs, width) u_k
    control: Annotated[LocodlControl, Layout.REPLICATED]
    loaded: PerRank  # (1,) 1 if `local` and `own` are this rank's


@dataclass(frozen=True)
class Locodl(Algorithm[LocodlState]):
    """LoCoDL: a round is the local steps until an exchange, 1/p of them on average. Baseline; unbiased C only.

    ======  =======  ===============================
    symbol  field    meaning
    ======  =======  ===============================
    y       w        model that all ranks know
    v       shared   its control variate, → ∇g
    x_k     local    local model
    u_k     own      its control variate, → ∇f_k
    γ …     control  γ, p, ρ, η
    ======  =======  ===============================

    By theory γ = 2/(L + μ), ρ = χ = 1/(1 + ω/K), p = √((1 + ω/K)(1 + ω)/κ) with the L of the steepest f_k. ω/K is ω
    if all ranks draw the same random numbers.

    Parameters
    ----------
    step_size
        γ; 0: by theory, from measured smoothness.
    probability
        p; 0: by theory.
    """

    name: ClassVar[str] = "locodl"
    baseline: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty", "curvature bound"})
    compressed_memory: ClassVar[str] = "none"
    step_size: float = 0.0
    probability: float = 0.0

    def __post_init__(self) -> None:
        at_least("locodl: step_size", self.step_size, 0)
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"locodl: probability must be from 0 to 1, not {self.probability}")

    def blank(self, objective: Objective, size: int) -> LocodlState:
        """Return a state of zeros."""
        w = objective.zeros()
        return LocodlState(w, w.copy(), w.copy(), w.copy(), LocodlControl.zeros(), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> LocodlState:
        """Start at the origin without control variates, and measure the smoothness."""
        if channel.compresses and channel.memory != self.compressed_memory:
            raise ValueError(f"locodl is defined by --memory {self.compressed_memory}, not {channel.memory}")
        state, control = self.blank(objective, channel.size), LocodlControl.zeros()
        state.w[...] = objective.beginning()
        self.rebuild(state, objective, channel)
        half = 0.5 * objective.ridge
        steepest = curvature.smoothness(objective, channel).largest + float(half.max())
        flattest = float(half[: objective.shard.features].min(initial=math.inf)) if objective.shard.features else 0.0
        shared = 1.0 / channel.shrink_of_sum(state.w.size)  # 1 + ω/K
        noise = channel.variance(state.w.size)
        control.gamma = self.step_size or (2.0 / (steepest + flattest) if steepest > 0.0 else 1.0)
        kappa = steepest / flattest if flattest > 0.0 else math.inf
        control.probability = self.probability or min(
            1.0, max(math.sqrt(shared * (1 + noise) / kappa), 1 / MOST_STEPS)
        )
        control.mixing = 1.0 / shared
        control.rate = control.probability * control.mixing / (control.gamma * (1.0 + 2.0 * noise))
        control.unrecorded = float(curvature.POWER_ITERATIONS)
        state.control[...] = control
        return state

    def rebuild(self, state: LocodlState, objective: Objective, channel: Channel) -> None:
        """Begin at the shared model, with variates that fit v, if the number of ranks changed."""
        if not state.loaded[0]:
            state.local[...], state.own[...], state.loaded[0] = state.w, -state.shared, 1.0

    def step(self, k: int, state: LocodlState, objective: Objective, channel: Channel) -> StepInfo:
        """Do the local steps, and exchange the differences from the shared model."""
        control, half, size = state.control, 0.5 * objective.ridge, channel.size
        draw = float(rng.generator(channel.seed, LENGTH_STREAM, k, 0).random())
        p = control.probability
        steps = 1 if p >= 1.0 else max(1, math.ceil(math.log1p(-draw) / math.log1p(-p)))
        for _ in range(steps):
            share = objective.evaluate(state.local)[1]
            state.local -= control.gamma * (size * share + half * state.local - state.own)
            state.w -= control.gamma * (half * state.w - state.shared)
        sent = channel.compress((state.local - state.w).reshape(-1), k, DIFFERENCE_STREAM)
        mine, mean = (x.reshape(state.w.shape) for x in (sent.own, sent.total / (2.0 * size)))
        state.local += control.mixing * (state.w + mean - state.local)
        state.w += control.mixing * mean
        state.own += control.rate * (mean - mine)
        state.shared += control.rate * mean
        epochs, control.unrecorded = steps + control.unrecorded, 0.0
        return StepInfo(epochs, control.gamma)
