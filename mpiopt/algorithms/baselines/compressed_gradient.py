"""DIANA and EF21: gradient steps with compressed sums of the ranks' whole gradients.

    g = estimate of Σ ∇F_i(x) by error compensation,   x ← x − γ (g + ∇penalty(x))

The two differ in the compensation (`mpiopt.compress.error_feedback`) and in γ. All ranks know the penalty; it is not
sent.

DIANA: K. Mishchenko, E. Gorbunov, M. Takáč, P. Richtárik, "Distributed learning with compressed gradient
differences", 2019 (arXiv 1901.09269), algorithm 1 with whole local gradients. EF21: P. Richtárik, I. Sokolov,
I. Fatkhullin, "EF21: a new, simpler, theoretically better, and practically faster error feedback", NeurIPS 2021
(arXiv 2106.05203), algorithm 2 and theorem 1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.compress import error_feedback
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Layout, NamedVector, PerRank, Replicated, Slot
from mpiopt.objective import curvature
from mpiopt.objective.curvature import Smoothness
from mpiopt.objective.objective import Objective

GRADIENT_STREAM = 21  # of the random numbers that compress gradients


class CompressedGradientControl(NamedVector):
    """The step, and epochs for the history."""

    gamma = Slot(0)  # γ
    unrecorded = Slot(1)  # epochs spent before the first step


@dataclass
class CompressedGradientState:
    """The iterate and the memory of the error compensation."""

    w: Replicated  # (outputs, width)
    own: PerRank  # (outputs, width) h_i
    whole: Replicated  # (outputs, width) Σ h_i
    control: Annotated[CompressedGradientControl, Layout.REPLICATED]
    loaded: PerRank  # (1,) 1 if `own` is this rank's


@dataclass(frozen=True)
class CompressedGradient(Algorithm[CompressedGradientState]):
    """Gradient steps with compressed sums.

    ======  =======  ==========================================================
    symbol  field    meaning
    ======  =======  ==========================================================
    x       w        model
    h_i     own      what all ranks know of this rank's gradient
    h       whole    Σ h_i (the papers' mean times the number of ranks)
    γ       control  step
    ======  =======  ==========================================================

    Parameters
    ----------
    step_size
        γ; 0: by theory, from measured smoothness.
    """

    baseline: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty", "curvature bound"})
    step_size: float = 0.0

    def __post_init__(self) -> None:
        at_least(f"{self.name}: step_size", self.step_size, 0)

    @abstractmethod
    def inverse_step(self, smooth: Smoothness, channel: Channel, d: int) -> float:
        """Return 1/γ for the loss part, if d numbers are sent."""

    def blank(self, objective: Objective, size: int) -> CompressedGradientState:
        """Return a state of zeros."""
        w = objective.zeros()
        return CompressedGradientState(w, w.copy(), w.copy(), CompressedGradientControl.zeros(), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> CompressedGradientState:
        """Start at the origin with an empty memory, and measure the smoothness."""
        if channel.compresses and channel.memory != self.compressed_memory:
            raise ValueError(f"{self.name} is defined by --memory {self.compressed_memory}, not {channel.memory}")
        state = self.blank(objective, channel.size)
        state.w[...] = objective.beginning()
        self._begin(state, objective, channel)
        return state

    def rebuild(self, state: CompressedGradientState, objective: Objective, channel: Channel) -> None:
        """Begin with an empty memory if the number of ranks changed."""
        if not state.loaded[0]:
            state.own[...] = 0.0
            state.whole[...] = 0.0
            self._begin(state, objective, channel)

    def _begin(self, state: CompressedGradientState, objective: Objective, channel: Channel) -> None:
        """Choose the step."""
        state.loaded[0] = 1.0
        if self.step_size:
            state.control.gamma = self.step_size
            return
        smooth = curvature.smoothness(objective, channel)
        inverse = self.inverse_step(smooth, channel, state.w.size) + float(objective.ridge.max())
        state.control.gamma = 1.0 / inverse if inverse > 0.0 else 1.0
        state.control.unrecorded = float(curvature.POWER_ITERATIONS)

    def step(self, k: int, state: CompressedGradientState, objective: Objective, channel: Channel) -> StepInfo:
        """Send the change of the gradient, and step."""
        _, share = objective.evaluate(state.w)
        g = error_feedback.update(share, state.own, state.whole, channel, k, GRADIENT_STREAM)
        gamma, spent = state.control.gamma, state.control.unrecorded
        state.w -= gamma * (g + objective.ridge * state.w)
        state.control.unrecorded = 0.0
        return StepInfo(1.0 + spent, gamma)


@dataclass(frozen=True)
class Diana(CompressedGradient):
    """D_i = C(∇F_i(x) − h_i); x ← x − γ Σ (h_i + D_i); h_i ← h_i + α D_i, α = 1/(1 + ω). Baseline; unbiased C only.

    γ = 1/(L + 6 (ω/n) L_max), L_max that of the steepest client; ω/n is ω if all ranks draw the same random numbers.
    Fields and options are those of the base class.
    """

    name: ClassVar[str] = "diana"
    compressed_memory: ClassVar[str] = "difference"

    def inverse_step(self, smooth: Smoothness, channel: Channel, d: int) -> float:
        """Return L + 6 (ω/n) L_max."""
        averaged = 1.0 / channel.shrink_of_sum(d) - 1.0
        return smooth.mean + 6.0 * averaged * smooth.largest


@dataclass(frozen=True)
class Ef21(CompressedGradient):
    """h_i ← h_i + s C(∇F_i(x) − h_i), then x ← x − γ Σ h_i. Baseline; an unbiased C is shrunk by s = 1/(1 + ω).

    γ = 1/(L + L~ √(β/θ)), L~² the mean square of the clients' L_i, θ = 1 − √(1 − α), β = (1 − α)/θ, α the contraction
    of s C. Fields and options are those of the base class.
    """

    name: ClassVar[str] = "ef21"
    compressed_memory: ClassVar[str] = "error-feedback"

    def inverse_step(self, smooth: Smoothness, channel: Channel, d: int) -> float:
        """Return L + L~ √(β/θ)."""
        kept = math.sqrt(1.0 - channel.contraction(d))
        return smooth.mean + smooth.square * kept / (1.0 - kept)
