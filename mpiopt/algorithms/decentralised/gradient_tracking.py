"""Gradient tracking on directed graphs with whole gradients (ADD-OPT), and GT-SAGA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.algorithms.decentralised.gossip import Gossip, GossipState, track
from mpiopt.algorithms.decentralised.push_saga import PushSaga
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Protocol
from mpiopt.consensus.digraph import Graph, Matrix
from mpiopt.consensus.mixing_weights import doubly_stochastic
from mpiopt.objective.objective import Objective


@dataclass(frozen=True)
class GradientTracking(Gossip):
    """x_i ← Σ_j W_ij x_j − γ y_i, z_i = x_i/v_i, y_i tracks the mean of ∇f_j(z_j) (push-sum). Baseline.

    ======  =======  ====================================
    symbol  field    meaning
    ======  =======  ====================================
    x_i     own      iterate of this rank
    v_i     mass     mass, the sum of weights
    y_i     tracker  estimate of the mean gradient
    γ       control  step
    ======  =======  ====================================

    Works on any strongly connected graph; converges linearly to the optimum if γ is small enough.

    Parameters
    ----------
    topology
        Plug-in by name, with one option as in random-k[k=3].
    step_size
        γ; 0: chosen.

    References
    ----------
    C. Xi, R. Xin, U. A. Khan, "ADD-OPT", IEEE TAC 63, 2018. Push-DIGing (A. Nedić, A. Olshevsky, W. Shi, SIAM
    J. Optimization 27, 2017) mixes after the step instead.
    """

    name: ClassVar[str] = "gradient-tracking"

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Mix, step, and bring the tracker up to date by the whole gradient."""
        return track(state, state.network.row, lambda z: self.gradient(z, objective, channel), state.control.gamma)


@dataclass(frozen=True)
class GtSaga(PushSaga):
    """push-saga with doubly stochastic weights and without push-sum: edges both ways, or equal degrees. Baseline.

    Converges linearly to the optimum if γ is small enough. Compared with push-saga, a message is one number shorter,
    and nothing is divided by masses that differ. Fields and options are those of push-saga.

    References
    ----------
    R. Xin, U. A. Khan, S. Kar, 2020 (arXiv 1909.11774).
    """

    name: ClassVar[str] = "gt-saga"
    pushes: ClassVar[bool] = False

    topology: str = "ring-both"

    def weights(self, graph: Graph) -> Matrix:
        """Return doubly stochastic weights."""
        return doubly_stochastic(graph)
