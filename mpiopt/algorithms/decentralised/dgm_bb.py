"""DGM-BB-C: gradient tracking with Barzilai-Borwein steps of each rank (J. Gao, X.-W. Liu, Y.-H. Dai and others)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.decentralised.gossip import Gossip, GossipState, WeightRow, mixed
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Array, Protocol
from mpiopt.consensus.digraph import Graph, Matrix
from mpiopt.consensus.mixing_weights import doubly_stochastic
from mpiopt.core.config.job import at_least
from mpiopt.objective.objective import Objective

LONGEST = 100.0  # of α_i, times L_i: about the cap of the public comparison (docs/studies/mushrooms.md)


def mixed_often(x: Array, row: WeightRow, times: int) -> Protocol[Array]:
    """Return row i of W^times x, in as many rounds."""
    for _ in range(times):
        received = yield x
        x = mixed(x, received, row)
    return x


def step_of_change(move: Array, change: Array, longest: float) -> float:
    """Return the shorter of the two steps of Barzilai and Borwein, at most `longest`; that where nothing moved."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        inner = abs(float((move * change).sum()))
        steps = np.array([(move * move).sum() / inner, inner / (change * change).sum()]) if inner else np.empty(0)
    return float(min([longest, *steps[np.isfinite(steps) & (steps > 0.0)]]))


@dataclass(frozen=True)
class DgmBb(Gossip):
    """x ← W^K (x − α_i y), y ← W^K (y + ∇f(x new) − ∇f(x)), α_i is Barzilai and Borwein's of rank i. Baseline.

    ======  =======  =======================================
    symbol  field    meaning
    ======  =======  =======================================
    x_i     own      model of this rank
    y_i     tracker  estimate of the mean gradient
    α_i     steps    step of this rank
    W_ij    network  weights, doubly stochastic
    ======  =======  =======================================

    Not exact: nothing bounds its steps but a cap of 100/L_i, and it diverges where ranks are unlike (smoothness that
    differs by 10 on a ring of 5 ranks). Where it converges, it ends at the optimum.

    Parameters
    ----------
    topology
        Plug-in by name, with one option as in torus[rows=2]; edges both ways, or equal degrees.
    step_size
        The first α_i; 0: 1/L_i.
    mixings
        K, rounds along the graph for each of the two exchanges of an iteration.

    References
    ----------
    J. Gao, X.-W. Liu, Y.-H. Dai, Y. Huang, P. Yang, "Achieving geometric convergence for distributed optimization
    with Barzilai-Borwein step sizes", Science China Information Sciences 65, 2022.
    """

    name: ClassVar[str] = "dgm-bb"
    exact: ClassVar[bool] = False
    pushes: ClassVar[bool] = False

    topology: str = "ring-both"
    mixings: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(f"{self.name}: mixings", self.mixings, 1)

    def weights(self, graph: Graph) -> Matrix:
        """Return doubly stochastic weights."""
        return doubly_stochastic(graph)

    def begin(self, state: GossipState, objective: Objective, channel: Channel) -> None:
        """Start at state.w, with α_i and its cap of this rank."""
        lipschitz = self.lipschitz(objective, channel.size)
        longest = LONGEST / lipschitz if lipschitz > 0.0 else 1.0
        state.steps[:] = self.step_size or longest / LONGEST, longest
        super().begin(state, objective, channel)

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Step and mix K times, bring the tracker up to date and mix it K times, and choose the next α_i."""
        shape, row = state.own.shape, state.network.row
        with np.errstate(over="ignore", invalid="ignore"):
            ahead = state.own - state.steps[0] * state.tracker
        x = (yield from mixed_often(ahead.reshape(-1), row, self.mixings)).reshape(shape)
        g = self.gradient(x, objective, channel)
        with np.errstate(over="ignore", invalid="ignore"):
            change, move = g - state.seen, x - state.own
            tracked = state.tracker + change
        state.tracker[...] = (yield from mixed_often(tracked.reshape(-1), row, self.mixings)).reshape(shape)
        state.own[...], state.seen[...] = x, g
        state.steps[0] = step_of_change(move, change, float(state.steps[1]))
