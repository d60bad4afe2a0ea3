"""Push-SAGA: gradient tracking on directed graphs with SAGA's gradients.

M. I. Qureshi, R. Xin, S. Kar, U. A. Khan, "Push-SAGA", 2020 (arXiv 2008.06082).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.decentralised import gossip
from mpiopt.algorithms.decentralised.gossip import TUNING, Gossip, GossipState, track
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Protocol
from mpiopt.consensus.digraph import Matrix
from mpiopt.core import rng
from mpiopt.core.config.job import at_least
from mpiopt.objective import curvature
from mpiopt.objective.minibatch import saga_gradient
from mpiopt.objective.objective import Model, Objective

ROWS_STREAM = 26  # of the random numbers that choose rows


@dataclass(frozen=True)
class PushSaga(Gossip):
    """gradient-tracking whose ∇f_i is SAGA's, of b different rows of the rank. Baseline.

    ======  =======  ================================================
    symbol  field    meaning
    ======  =======  ================================================
    x_i     own      iterate of this rank
    v_i     mass     mass, the sum of weights
    y_i     tracker  estimate of the mean gradient
    –       table    slope of each row at its last visit
    –       average  mean gradient of the table
    γ       control  step
    ======  =======  ================================================

    Works on any strongly connected graph; converges linearly to the optimum if γ is small enough.

    Parameters
    ----------
    topology
        Plug-in by name, with one option as in random-k[k=3].
    step_size
        γ; 0: chosen.
    batch
        b; 0: a 16th of the rank's rows.
    """

    name: ClassVar[str] = "push-saga"

    batch: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(f"{self.name}: batch", self.batch, 0)

    def rows(self, objective: Objective) -> int:
        """Return b, at most the number of rows."""
        n = len(objective.shard)
        return min(n, self.batch or -(-n // TUNING.iterations_an_epoch))

    def lipschitz(self, objective: Objective, size: int) -> float:
        """Return (L_max + (b − 1) L)/b + λ, L_max of the steepest of this rank's rows, L of their mean."""
        rows, n = self.rows(objective), len(objective.shard)
        if rows == 0:
            return float(objective.ridge.max())
        mean = size * curvature.local_smoothness(objective)
        largest = size * n / objective.shard.total * float(objective.row_smoothness().max())
        return (largest + (rows - 1) * min(mean, largest)) / rows + float(objective.ridge.max())

    def step_of(self, lipschitz: float, weights: Matrix) -> float:
        """Return a multiple of the step of whole gradients."""
        return TUNING.batch_step * super().step_of(lipschitz, weights)

    def blank(self, objective: Objective, size: int) -> GossipState:
        """Return a state of zeros, with a table."""
        state = super().blank(objective, size)
        state.table = np.zeros((len(objective.shard), objective.outputs))
        return state

    def begin(self, state: GossipState, objective: Objective, channel: Channel) -> None:
        """Fill the table at state.w with one pass."""
        _, own = objective.refresh(state.w, state.table)
        state.average[...] = own
        gossip.start(state, state.w, lambda z: channel.size * own + objective.ridge * z)

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Mix, step, and bring the tracker up to date by the gradient of some rows."""
        generator = rng.generator(channel.seed, ROWS_STREAM, k, channel.rank)
        visited = generator.choice(len(objective.shard), self.rows(objective), replace=False)

        def gradient(z: Model) -> Model:
            share = saga_gradient(objective, z, visited, state.table, state.average)
            return np.asarray(channel.size * share + objective.ridge * z)

        return track(state, state.network.row, gradient, state.control.gamma)
