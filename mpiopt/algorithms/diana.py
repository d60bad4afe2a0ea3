"""DIANA: gradient differences, compressed without bias, against a memory on both sides.

K. Mishchenko, E. Gorbunov, M. Takáč, P. Richtárik, "Distributed learning with compressed gradient differences", 2019
(arXiv 1901.09269), algorithm 1 with whole local gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.shared_gradient import SharedGradient
from mpiopt.channel import Channel
from mpiopt.smoothness import Smoothness


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
