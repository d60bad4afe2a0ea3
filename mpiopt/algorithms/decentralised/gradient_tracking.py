"""Gradient tracking on directed graphs: ADD-OPT (C. Xi, R. Xin, U. A. Khan, IEEE TAC 63, 2018).

Push-DIGing (A. Nedić, A. Olshevsky, W. Shi, SIAM J. Optimization 27, 2017) differs in mixing after the step.

GT-SAGA: gradient tracking with SAGA's gradients (R. Xin, U. A. Khan, S. Kar, 2020, arXiv 1909.11774).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.decentralised.gossip import GAMMA, Gossip, GossipState, track
from mpiopt.algorithms.decentralised.push_saga import PushSaga
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Protocol
from mpiopt.consensus.digraph import Graph, Matrix
from mpiopt.consensus.mixing_weights import doubly_stochastic
from mpiopt.objective.objective import Objective


@dataclass(frozen=True)
class GradientTracking(Gossip):
    """x_i ← Σ_j W_ij x_j − γ y_i, z_i = x_i/v_i, y_i tracks the mean of ∇f_j(z_j) (push-sum). Baseline.

    Any strongly connected graph; linear to the optimum for γ small enough.
    """

    name: ClassVar[str] = "gradient-tracking"

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Mix, step, and bring the tracker up to date by the whole gradient."""
        gamma = float(state.control[GAMMA])
        return track(state, state.talk.row, lambda z: self.whole(z, objective, channel), gamma)


@dataclass(frozen=True)
class GtSaga(PushSaga):
    """push-saga with doubly stochastic weights and without push-sum: edges both ways, or equal degrees. Baseline.

    Linear to the optimum for γ small enough; a number less in a message, and no division by masses that differ.
    """

    name: ClassVar[str] = "gt-saga"
    pushes: ClassVar[bool] = False

    topology: str = "ring-both"

    def weights(self, graph: Graph) -> Matrix:
        """Give doubly stochastic weights."""
        return doubly_stochastic(graph)
