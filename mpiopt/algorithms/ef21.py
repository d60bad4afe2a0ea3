"""EF21: error feedback for any contractive compressor.

P. Richtárik, I. Sokolov, I. Fatkhullin, "EF21: a new, simpler, theoretically better, and practically faster error
feedback", NeurIPS 2021 (arXiv 2106.05203), algorithm 2 and theorem 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.shared_gradient import SharedGradient
from mpiopt.channel import Channel
from mpiopt.smoothness import Smoothness


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
