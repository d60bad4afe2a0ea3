"""AdGT: gradient tracking whose ranks each adapt a step of their own (D. Ghaderyan, S. Werner, arXiv 2504.15196)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.decentralised.gossip import Gossip, GossipState, mixed
from mpiopt.algorithms.step_sizes.adgd import AdgdOptions, AdgdState, measured_curvature, next_state
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Protocol
from mpiopt.consensus.digraph import Graph, Matrix
from mpiopt.consensus.mixing_weights import doubly_stochastic
from mpiopt.objective.objective import Objective

OPTIONS = AdgdOptions()  # AdGD's own: α = 1/2, no filter


@dataclass(frozen=True)
class Adgt(Gossip):
    """x_i ← Σ_j W_ij (x_j − α_j y_j), y_i tracks the mean of ∇f_j(x_j), α_i is AdGD's on rank i alone. Baseline.

    ======  =======  =======================================
    symbol  field    meaning
    ======  =======  =======================================
    x_i     own      model of this rank
    y_i     tracker  estimate of the mean gradient
    α_i     steps    step of this rank
    W_ij    network  weights, doubly stochastic
    ======  =======  =======================================

    α_i ← min(√(1 + α_i/α_i before) α_i, ‖Δx_i‖/(2 ‖Δ∇f_i‖)); nothing is agreed on. A reconstruction: the abstract was
    available (tracking, a step of each rank by the smoothness that it sees, linear convergence), the listing was not.
    Not exact: with these equations it ends at the optimum where the ranks' smoothness is alike, and diverges where it
    differs by 100 (on a directed graph of 4 ranks by 10 already). With the step after the mixing,
    x_i ← Σ_j W_ij x_j − α_i y_i, it diverged among equal ranks.

    Parameters
    ----------
    topology
        Plug-in by name, with one option as in torus[rows=2]; edges both ways, or equal degrees.
    step_size
        The first α_i; 0: 1/(2 L_i).

    References
    ----------
    D. Ghaderyan, S. Werner, "AdGT: decentralized gradient tracking with tuning-free per-agent stepsize", 2025
    (arXiv 2504.15196).
    """

    name: ClassVar[str] = "adgt"
    exact: ClassVar[bool] = False
    pushes: ClassVar[bool] = False

    topology: str = "ring-both"

    def weights(self, graph: Graph) -> Matrix:
        """Return doubly stochastic weights."""
        return doubly_stochastic(graph)

    def begin(self, state: GossipState, objective: Objective, channel: Channel) -> None:
        """Start at state.w, with α_i of this rank."""
        lipschitz = self.lipschitz(objective, channel.size)
        state.steps[0] = self.step_size or (0.5 / lipschitz if lipschitz > 0.0 else 1.0)
        super().begin(state, objective, channel)

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Step, mix, bring the tracker up to date, and adapt α_i; the message is x − α y, and y."""
        with np.errstate(over="ignore", invalid="ignore"):
            ahead = state.own - state.steps[0] * state.tracker
        sent = np.concatenate([ahead.reshape(-1), state.tracker.reshape(-1)])
        received = yield sent
        x, y = mixed(sent, received, state.network.row).reshape(2, *state.own.shape)
        g = self.gradient(x, objective, channel)
        with np.errstate(over="ignore", invalid="ignore"):
            change, move = g - state.seen, x - state.own
            state.tracker[...] = y + change
        before = AdgdState(float(state.steps[0]), float(state.steps[1]))
        after = next_state(before, measured_curvature(change, move), OPTIONS)
        state.own[...], state.seen[...], state.steps[:] = x, g, (after.step, after.ratio)
