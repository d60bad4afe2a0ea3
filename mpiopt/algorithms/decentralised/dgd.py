"""Decentralised gradient descent (A. Nedić, A. Ozdaglar, IEEE Transactions on Automatic Control 54, 2009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.decentralised.gossip import Gossip, GossipState, descend
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Protocol
from mpiopt.consensus.digraph import Graph, Matrix
from mpiopt.consensus.mixing_weights import doubly_stochastic
from mpiopt.objective.objective import Objective


@dataclass(frozen=True)
class Dgd(Gossip):
    """x_i ← Σ_j W_ij x_j − γ ∇f_i(x_i), W doubly stochastic: edges both ways, or equal degrees. Baseline.

    ======  ===========  ===================
    symbol  field        meaning
    ======  ===========  ===================
    x_i     own          model of this rank
    W_ij    network.row  weights
    γ       control      step
    ======  ===========  ===================

    Not exact: with a constant step it ends where (I − W) x + γ ∇f(x) = 0, at a distance of up to about
    γ √(Σ ‖∇f_i(w*)‖²)/(1 − λ₂). Other weights would lead to the minimum of a weighted sum. The chosen γ is
    min W_ii/max L_i; below it every mode is damped.

    Parameters
    ----------
    topology
        Plug-in by name, with one option as in torus[rows=2].
    step_size
        γ; 0: chosen.

    References
    ----------
    A. Nedić, A. Ozdaglar, IEEE Transactions on Automatic Control 54, 2009; K. Yuan, Q. Ling, W. Yin, SIAM J.
    Optimization 26, 2016.
    """

    name: ClassVar[str] = "dgd"
    exact: ClassVar[bool] = False
    pushes: ClassVar[bool] = False

    topology: str = "ring-both"

    def weights(self, graph: Graph) -> Matrix:
        """Return doubly stochastic weights."""
        return doubly_stochastic(graph)

    def step_of(self, lipschitz: float, weights: Matrix) -> float:
        """Return min W_ii/L: by Gershgorin all eigenvalues of W − γ H are then within the unit circle."""
        return float(weights.diagonal().min()) / lipschitz if lipschitz > 0.0 else 1.0

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Mix, and step by the whole gradient."""
        return descend(state, state.network.row, lambda x: self.gradient(x, objective, channel), state.control.gamma)
