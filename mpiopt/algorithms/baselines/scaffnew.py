"""Scaffnew: gradient steps on every rank, an average now and then, and controls that correct the drift (ProxSkip).

K. Mishchenko, G. Malinovsky, S. Stich, P. Richtárik, "ProxSkip: yes! local gradient steps provably lead to
communication acceleration! Finally!", ICML 2022 (arXiv 2202.09357), algorithm 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.compress.channel import Channel
from mpiopt.core import rng
from mpiopt.core.config.job import at_least
from mpiopt.core.state import PerRank, Replicated
from mpiopt.objective import curvature
from mpiopt.objective.objective import Objective

COIN_STREAM = 28  # of the random numbers that say when ranks exchange
UNKNOWN = 100.0  # L/μ where nothing bounds the curvature from below


@dataclass
class ScaffnewState:
    """The averaged model, and the control of this rank."""

    w: Replicated  # (outputs, width) x
    control: PerRank  # (outputs, width) h_k, Σ h_k = 0
    constants: Replicated  # (2,) γ, p
    loaded: PerRank  # (1,) 1 if `control` is this rank's


@dataclass(frozen=True)
class Scaffnew(Algorithm[ScaffnewState]):
    """x_k ← x_k − γ (∇f_k(x_k) − h_k); with probability p: x ← mean of x_k, h_k ← h_k + (p/γ)(x − x_k). Baseline.

    ======  =========  =====================================
    symbol  field      meaning
    ======  =========  =====================================
    x       w          model after an exchange
    h_k     control    control of rank k, ∇f_k at the optimum
    γ, p    constants  step, and probability of an exchange
    ======  =========  =====================================

    f_k is K times the share of rank k in F, with the penalty. A round ends with an exchange; one coin for all ranks
    says after how many steps. With γ = 1/L and p = √(μ/L) it takes about √(L/μ) log(1/ε) rounds, for as many
    gradients as gradient descent, which exchanges after each of them.

    Parameters
    ----------
    step_size
        γ; 0: 1/L, L of the steepest rank.
    local_steps
        H = n/p, rows visited by a rank between two exchanges on average, n its rows on average; 0: p = √(μ/L).

    References
    ----------
    K. Mishchenko, G. Malinovsky, S. Stich, P. Richtárik, ICML 2022 (arXiv 2202.09357).
    """

    name: ClassVar[str] = "scaffnew"
    baseline: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty", "curvature bound"})

    step_size: float = 0.0
    local_steps: int = 0

    def __post_init__(self) -> None:
        if self.local_steps == -1:
            raise ValueError("scaffnew: --local-steps must be a number of rows; only saga has auto")
        at_least("scaffnew: step_size", self.step_size, 0)
        at_least("scaffnew: local_steps", self.local_steps, 0)

    def blank(self, objective: Objective, size: int) -> ScaffnewState:
        """Return a state of zeros."""
        w = objective.zeros()
        return ScaffnewState(w, w.copy(), np.zeros(2), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> ScaffnewState:
        """Start at the origin with controls 0, and measure the smoothness."""
        state = self.blank(objective, channel.size)
        state.w[...] = objective.beginning()
        ridge = objective.ridge
        own = channel.size * curvature.local_smoothness(objective) + float(ridge.max())
        lipschitz = float(channel.max(own)[0])
        least = float(ridge[: objective.shard.features].min(initial=math.inf))
        condition = lipschitz / least if 0.0 < least < math.inf else UNKNOWN
        rows = objective.shard.total / channel.size
        probability = min(1.0, rows / self.local_steps if self.local_steps else 1.0 / math.sqrt(max(condition, 1.0)))
        state.constants[:] = self.step_size or (1.0 / lipschitz if lipschitz > 0.0 else 1.0), probability
        state.loaded[0] = 1.0
        return state

    def rebuild(self, state: ScaffnewState, objective: Objective, channel: Channel) -> None:
        """Begin with controls 0 if the number of ranks changed."""
        if not state.loaded[0]:
            state.control[...], state.loaded[0] = 0.0, 1.0

    def step(self, k: int, state: ScaffnewState, objective: Objective, channel: Channel) -> StepInfo:
        """Do the local steps until the coin falls, then average and correct the controls."""
        gamma, probability = state.constants.tolist()
        steps = int(rng.generator(channel.seed, COIN_STREAM, k, 0).geometric(probability))
        local = state.w.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(steps):
                gradient = channel.size * objective.evaluate(local)[1] + objective.ridge * local
                local -= gamma * (gradient - state.control)
            state.w[...] = (channel.sum(local) / channel.size).reshape(local.shape)
            state.control += probability / gamma * (state.w - local)
        return StepInfo(float(steps), gamma)
