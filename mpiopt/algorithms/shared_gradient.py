"""What DIANA and EF21 have in common: a gradient step with the compressed sum of the ranks' whole gradients.

letter – field – meaning
x – w, h_i – own, h (Σ, not the mean) – whole, γ – control.

    g = memory(∇F_i(x) on every rank),   x ← x − γ (g + ∇penalty(x))

They differ in the memory (`mpiopt.memory`) and in γ. The penalty is known to all and is not sent.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt import memory, smoothness
from mpiopt.algorithms import Algorithm, Progress
from mpiopt.channel import Channel
from mpiopt.objective import Objective
from mpiopt.smoothness import Smoothness
from mpiopt.state import PerRank, Replicated

STREAM = 21  # of randomness: the compressed gradients
GAMMA, SPENT = range(2)  # places in State.control


@dataclass
class State:
    """The iterate and the memory."""

    w: Replicated  # (outputs, width)
    own: PerRank  # (outputs, width) h_i
    whole: Replicated  # (outputs, width) Σ h_i
    control: Replicated  # (2,) γ, epochs not recorded yet
    loaded: PerRank  # (1,) 1: `own` is this rank's


@dataclass(frozen=True)
class SharedGradient(Algorithm[State]):
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

    def blank(self, objective: Objective, size: int) -> State:
        """Make a state of zeros."""
        w = objective.zeros()
        return State(w, w.copy(), w.copy(), np.zeros(2), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> State:
        """Start at 0 with an empty memory, and measure the smoothness."""
        if channel.compresses and channel.memory != self.compressed_memory:
            raise ValueError(f"{self.name} is defined by --memory {self.compressed_memory}, not {channel.memory}")
        state = self.blank(objective, channel.size)
        self._begin(state, objective, channel)
        return state

    def rebuild(self, state: State, objective: Objective, channel: Channel) -> None:
        """On another number of ranks begin with an empty memory."""
        if not state.loaded[0]:
            state.own[...] = 0.0
            state.whole[...] = 0.0
            self._begin(state, objective, channel)

    def _begin(self, state: State, objective: Objective, channel: Channel) -> None:
        state.loaded[0] = 1.0
        if self.step_size:
            state.control[GAMMA] = self.step_size
            return
        smooth = smoothness.measure(objective, channel)
        inverse = self.steepness(smooth, channel, state.w.size) + float(objective.ridge.max())
        state.control[:] = 1.0 / inverse if inverse > 0.0 else 1.0, float(smoothness.PASSES)

    def step(self, k: int, state: State, objective: Objective, channel: Channel) -> Progress:
        """Send the gradient's news, step."""
        _, share = objective.evaluate(state.w)
        g = memory.update(share, state.own, state.whole, channel, k, STREAM)
        gamma, spent = (float(v) for v in state.control)
        state.w -= gamma * (g + objective.ridge * state.w)
        state.control[SPENT] = 0.0
        return Progress(1.0 + spent, gamma)
