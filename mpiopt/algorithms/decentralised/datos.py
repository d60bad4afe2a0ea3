"""DATOS: three-operator splitting along a graph, with a line search on every rank and the least step of all.

X. Chen, I. Kuruzov, G. Scutari, "Adaptive decentralized composite optimization via three-operator splitting", 2026
(arXiv 2602.17545).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.decentralised.gossip import Gossip, GossipState, mixed
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Array, Protocol
from mpiopt.consensus.coordinators.max_consensus import maximum
from mpiopt.consensus.digraph import Graph, Matrix
from mpiopt.consensus.mixing_weights import doubly_stochastic
from mpiopt.objective.objective import Model, Objective

SHARE = 0.9  # δ, of the quadratic bound that a step must keep: below 1, as the proofs of backtracking want it
ROUNDING = 16.0 * np.finfo(float).eps  # of a value of f_i: differences below it decide nothing
TRIALS = 60  # of a line search: 2⁻⁶⁰ of the first step; then rounding alone decides


@dataclass(frozen=True)
class Datos(Gossip):
    """Davis-Yin splitting of loss, l1 and agreement, with one step that all ranks' line searches accept. Baseline.

    ======  ===========  ======================================================
    symbol  field        meaning
    ======  ===========  ======================================================
    x_i     own          model of this rank
    d_i     tracker      multiplier of the agreement, Σ d_i = 0
    s_i     subgradient  of the penalty l1 ‖x‖₁ at x_i
    g_i     seen         ∇f_i(x_i)
    α       steps        step, the same on all ranks; and f_i(x_i)
    V       network      (I + W)/2, W symmetric and doubly stochastic
    ======  ===========  ======================================================

    With u_i = g_i + s_i + d_i and z_i(α) = Σ_j V_ij (x_j − α u_j), which a rank has for every α after one exchange:

        α_i   the first of 1, 1/2, … times (k + 2)/(k + 1) α with
              f_i(z_i) ≤ f_i(x_i) + g_i (z_i − x_i) + δ/(2 α) ‖z_i − x_i‖²;   α ← min over all ranks, by max-consensus
        d_i ← d_i + (x_i − Σ_j V_ij x_j)/α − (u_i − Σ_j V_ij u_j)
        x_i ← prox_{α l1}(z_i + α s_i),   s_i ← (z_i + α s_i − x_i)/α

    It knows no constant of the problem or of the graph, and it takes l1. A reconstruction: the abstract was available
    (Davis-Yin splitting in a metric of Bertsekas, O'Connor and Vandenberghe; backtracking on each rank;
    min-consensus), the listing was not. An iteration costs a pass, and one for each trial.

    Parameters
    ----------
    topology
        Plug-in by name, with one option as in torus[rows=2]; edges both ways.
    step_size
        α before the first search; 0: 1.

    References
    ----------
    X. Chen, I. Kuruzov, G. Scutari, 2026 (arXiv 2602.17545); D. Davis, W. Yin, Set-Valued and Variational Analysis
    25, 2017; F. Pedregosa, G. Gidel, ICML 2018 (the search of the step).
    """

    name: ClassVar[str] = "datos"
    needs: ClassVar[frozenset[str]] = frozenset()
    pushes: ClassVar[bool] = False

    topology: str = "ring-both"

    def weights(self, graph: Graph) -> Matrix:
        """Return (I + W)/2; ValueError if an edge goes one way only."""
        weights = doubly_stochastic(graph)
        if not graph.undirected:
            raise ValueError("its weights must be symmetric; choose ring-both, torus, star or complete")
        return np.asarray(0.5 * (np.eye(len(weights)) + weights))

    def step_of(self, lipschitz: float, weights: Matrix) -> float:
        """Return the step before the first search."""
        return 1.0

    def lipschitz(self, objective: Objective, size: int) -> float:
        """Return 0: no constant is needed."""
        return 0.0

    def begin(self, state: GossipState, objective: Objective, channel: Channel) -> None:
        """Start at state.w, with multipliers 0."""
        state.own[...] = state.w
        state.tracker[...], state.subgradient[...] = 0.0, 0.0
        value, state.seen[...] = self.value_and_gradient(state.own, objective, channel)
        state.steps[:] = state.control.gamma, value

    def blank(self, objective: Objective, size: int) -> GossipState:
        """Return a state of zeros."""
        state = super().blank(objective, size)
        state.subgradient = objective.zeros()
        return state

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Exchange x and u, search a step, agree on the least, and take it."""
        x, shape = state.own, state.own.shape
        u = state.seen + state.subgradient + state.tracker
        sent = np.concatenate([x.reshape(-1), u.reshape(-1)])
        received = yield sent
        x_mixed, u_mixed = mixed(sent, received, state.network.row).reshape(2, *shape)
        alpha, trials = self.accepted(k, state, x_mixed, u_mixed, objective, channel)
        agreed = yield from maximum(np.array([-alpha, trials]), state.network.view)
        alpha = -float(agreed[0])
        with np.errstate(over="ignore", invalid="ignore"):
            state.tracker += (x - x_mixed) / alpha - (u - u_mixed)
            shifted = x_mixed - alpha * (u_mixed - state.subgradient)
            state.own[...] = np.sign(shifted) * np.maximum(np.abs(shifted) - alpha * objective.threshold, 0.0)
            state.subgradient[...] = (shifted - state.own) / alpha
        value, state.seen[...] = self.value_and_gradient(state.own, objective, channel)
        state.steps[:] = alpha, value
        state.control.gamma, state.control.epochs = alpha, 1.0 + float(agreed[1])

    def accepted(
        self, k: int, state: GossipState, x_mixed: Array, u_mixed: Array, objective: Objective, channel: Channel
    ) -> tuple[float, int]:
        """Return the step that this rank accepts, and how many it tried."""
        alpha, value = float(state.steps[0]) * (k + 2) / (k + 1), float(state.steps[1])
        for trial in range(1, TRIALS):
            with np.errstate(over="ignore", invalid="ignore"):
                z = x_mixed - alpha * u_mixed
                move = z - state.own
                bound = float((state.seen * move).sum() + 0.5 * SHARE / alpha * (move * move).sum())
            if self.value_and_gradient(z, objective, channel)[0] - value <= bound + ROUNDING * abs(value):
                return alpha, trial
            alpha *= 0.5
        return alpha, TRIALS

    def value_and_gradient(self, z: Model, objective: Objective, channel: Channel) -> tuple[float, Model]:
        """Return f_i(z) and ∇f_i(z), without l1."""
        value, gradient = objective.evaluate(z)
        with np.errstate(over="ignore", invalid="ignore"):
            value = channel.size * value + 0.5 * float((objective.ridge * z * z).sum())
            return value, np.asarray(channel.size * gradient + objective.ridge * z)
