"""Gradient tracking on directed graphs: ADD-OPT (C. Xi, R. Xin, U. A. Khan, IEEE TAC 63, 2018).

Push-DIGing (A. Nedić, A. Olshevsky, W. Shi, SIAM J. Optimization 27, 2017) differs in mixing after the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.gossip import GAMMA, Gossip, State
from mpiopt.channel import Channel
from mpiopt.consensus import Protocol
from mpiopt.gossip import track
from mpiopt.objective import Objective


@dataclass(frozen=True)
class GradientTracking(Gossip):
    """x_i ← Σ_j W_ij x_j − γ y_i, z_i = x_i/v_i, y_i tracks the mean of ∇f_j(z_j) (push-sum). Baseline.

    Any strongly connected graph; linear to the optimum for γ small enough.
    """

    name: ClassVar[str] = "gradient-tracking"

    def iteration(self, k: int, state: State, objective: Objective, channel: Channel) -> Protocol[None]:
        """Mix, step, and bring the tracker up to date by the whole gradient."""
        gamma = float(state.control[GAMMA])
        return track(state, state.talk.row, lambda z: self.whole(z, objective, channel), gamma)
