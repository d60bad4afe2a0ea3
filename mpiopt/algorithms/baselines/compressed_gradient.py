"""What DIANA and EF21 have in common: a gradient step with the compressed sum of the ranks' whole gradients.

letter – field – meaning
x – w, h_i – own, h (Σ, not the mean) – whole, γ – control.

    g = memory(∇F_i(x) on every rank),   x ← x − γ (g + ∇penalty(x))

They differ in the memory (`mpiopt.compress.error_feedback`) and in γ. The penalty is known to all and is not sent.

DIANA: gradient differences, compressed without bias, against a memory on both sides.

K. Mishchenko, E. Gorbunov, M. Takáč, P. Richtárik, "Distributed learning with compressed gradient differences", 2019
(arXiv 1901.09269), algorithm 1 with whole local gradients.

EF21: error feedback for any contractive compressor.

P. Richtárik, I. Sokolov, I. Fatkhullin, "EF21: a new, simpler, theoretically better, and practically faster error
feedback", NeurIPS 2021 (arXiv 2106.05203), algorithm 2 and theorem 1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.compress import error_feedback
from mpiopt.compress.channel import Channel
from mpiopt.core.state import PerRank, Replicated
from mpiopt.objective import curvature
from mpiopt.objective.curvature import Smoothness
from mpiopt.objective.objective import Objective

STREAM = 21  # of randomness: the compressed gradients
GAMMA, SPENT = range(2)  # places in State.control


@dataclass
class CompressedGradientState:
    """The iterate and the memory."""

    w: Replicated  # (outputs, width)
    own: PerRank  # (outputs, width) h_i
    whole: Replicated  # (outputs, width) Σ h_i
    control: Replicated  # (2,) γ, epochs not recorded yet
    loaded: PerRank  # (1,) 1: `own` is this rank's


@dataclass(frozen=True)
class SharedGradient(Algorithm[CompressedGradientState]):
    """Gradient steps with compressed sums."""

    baseline: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty", "curvature bound"})
    step_size: float = 0.0  # γ; 0: by theory, from measured smoothness

    def __post_init__(self) -> None:
        if self.step_size < 0.0:
            raise ValueError(f"{self.name}: step_size must be at least 0, not {self.step_size}")

    @abstractmethod
    def steepness(self, smooth: Smoothness, channel: Channel, d: int) -> float:
        """Give 1/γ for the loss part; `d` numbers are sent."""

    def blank(self, objective: Objective, size: int) -> CompressedGradientState:
        """Make a state of zeros."""
        w = objective.zeros()
        return CompressedGradientState(w, w.copy(), w.copy(), np.zeros(2), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> CompressedGradientState:
        """Start at 0 with an empty memory, and measure the smoothness."""
        if channel.compresses and channel.memory != self.compressed_memory:
            raise ValueError(f"{self.name} is defined by --memory {self.compressed_memory}, not {channel.memory}")
        state = self.blank(objective, channel.size)
        self._begin(state, objective, channel)
        return state

    def rebuild(self, state: CompressedGradientState, objective: Objective, channel: Channel) -> None:
        """On another number of ranks begin with an empty memory."""
        if not state.loaded[0]:
            state.own[...] = 0.0
            state.whole[...] = 0.0
            self._begin(state, objective, channel)

    def _begin(self, state: CompressedGradientState, objective: Objective, channel: Channel) -> None:
        state.loaded[0] = 1.0
        if self.step_size:
            state.control[GAMMA] = self.step_size
            return
        smooth = curvature.smoothness(objective, channel)
        inverse = self.steepness(smooth, channel, state.w.size) + float(objective.ridge.max())
        state.control[:] = 1.0 / inverse if inverse > 0.0 else 1.0, float(curvature.POWER_ITERATIONS)

    def step(self, k: int, state: CompressedGradientState, objective: Objective, channel: Channel) -> StepInfo:
        """Send the gradient's news, step."""
        _, share = objective.evaluate(state.w)
        g = error_feedback.update(share, state.own, state.whole, channel, k, STREAM)
        gamma, spent = (float(v) for v in state.control)
        state.w -= gamma * (g + objective.ridge * state.w)
        state.control[SPENT] = 0.0
        return StepInfo(1.0 + spent, gamma)


@dataclass(frozen=True)
class Diana(SharedGradient):
    """D_i = C(∇F_i(x) − h_i); x ← x − γ Σ (h_i + D_i); h_i ← h_i + α D_i, α = 1/(1 + ω). Baseline; unbiased C only.

    γ = 1/(L + 6 (ω/n) L_max), L_max that of the steepest client; ω/n is ω where all ranks draw alike.
    """

    name: ClassVar[str] = "diana"
    compressed_memory: ClassVar[str] = "difference"

    def steepness(self, smooth: Smoothness, channel: Channel, d: int) -> float:
        """Give L + 6 (ω/n) L_max."""
        averaged = 1.0 / channel.shrink_of_sum(d) - 1.0
        return smooth.mean + 6.0 * averaged * smooth.largest


@dataclass(frozen=True)
class Ef21(SharedGradient):
    """h_i ← h_i + s C(∇F_i(x) − h_i), then x ← x − γ Σ h_i. Baseline; an unbiased C is shrunk by s = 1/(1 + ω).

    γ = 1/(L + L~ √(β/θ)), L~² the mean square of the clients' L_i, θ = 1 − √(1 − α), β = (1 − α)/θ, α = contraction.
    """

    name: ClassVar[str] = "ef21"
    compressed_memory: ClassVar[str] = "error-feedback"

    def steepness(self, smooth: Smoothness, channel: Channel, d: int) -> float:
        """Give L + L~ √(β/θ)."""
        kept = math.sqrt(1.0 - channel.contraction(d))
        return smooth.mean + smooth.square * kept / (1.0 - kept)
