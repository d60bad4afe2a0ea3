"""Decentralised gradient descent (A. Nedić, A. Ozdaglar, IEEE Transactions on Automatic Control 54, 2009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.decentralised.gossip import GAMMA, Gossip, GossipState, descend
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Protocol
from mpiopt.consensus.digraph import Graph, Matrix
from mpiopt.consensus.mixing_weights import doubly_stochastic
from mpiopt.objective.objective import Objective


@dataclass(frozen=True)
class Dgd(Gossip):
    """x_i ← Σ_j W_ij x_j − γ ∇f_i(x_i), W doubly stochastic: edges both ways, or equal degrees. Baseline.

    Not exact: with a constant step it ends where (I − W) x + γ ∇f(x) = 0, at a distance of up to about
    γ √(Σ ‖∇f_i(w*)‖²)/(1 − λ₂) (K. Yuan, Q. Ling, W. Yin, SIAM J. Optimization 26, 2016). Other weights would lead
    to the minimum of a weighted sum. γ chosen: min W_ii/max L_i, below which every mode is damped.
    """

    name: ClassVar[str] = "dgd"
    exact: ClassVar[bool] = False
    pushes: ClassVar[bool] = False

    topology: str = "ring-both"

    def weights(self, graph: Graph) -> Matrix:
        """Give doubly stochastic weights."""
        return doubly_stochastic(graph)

    def step_of(self, steepest: float, weights: Matrix) -> float:
        """Give min W_ii/L: by Gershgorin all of W − γ H is then within the unit circle."""
        return float(weights.diagonal().min()) / steepest if steepest > 0.0 else 1.0

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Mix, and step by the whole gradient."""
        gamma = float(state.control[GAMMA])
        return descend(state, state.talk.row, lambda x: self.whole(x, objective, channel), gamma)
