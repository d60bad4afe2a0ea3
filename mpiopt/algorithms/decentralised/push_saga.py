"""Push-SAGA: gradient tracking on directed graphs with SAGA's gradients.

M. I. Qureshi, R. Xin, S. Kar, U. A. Khan, "Push-SAGA", 2020 (arXiv 2008.06082).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.decentralised import gossip
from mpiopt.algorithms.decentralised.gossip import GAMMA, Gossip, GossipState, track
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Protocol
from mpiopt.consensus.digraph import Matrix
from mpiopt.core import rng as randomness
from mpiopt.objective import curvature
from mpiopt.objective.minibatch import saga_gradient
from mpiopt.objective.objective import Model, Objective

ROWS = 26  # of randomness: which rows
PART = 16  # of a rank's rows in an iteration: 1/PART, where it is not given


@dataclass(frozen=True)
class PushSaga(Gossip):
    """gradient-tracking whose ∇f_i is SAGA's, of b different rows of the rank. Baseline.

    Any strongly connected graph; linear to the optimum for γ small enough. batch: b; 0: a 16th of the rank's rows.
    """

    name: ClassVar[str] = "push-saga"

    batch: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 0:
            raise ValueError(f"{self.name}: batch must be at least 1, or 0 for a part of the rows, not {self.batch}")

    def rows(self, objective: Objective) -> int:
        """Give b, at most all."""
        n = len(objective.shard)
        return min(n, self.batch or -(-n // PART))

    def steepness(self, objective: Objective, size: int) -> float:
        """Give (L_max + (b − 1) L)/b + λ, from the steepest of this rank's rows and their mean."""
        rows, n = self.rows(objective), len(objective.shard)
        if rows == 0:
            return float(objective.ridge.max())
        mean = size * curvature.local_smoothness(objective)
        steepest = size * n / objective.shard.total * float(objective.row_smoothness().max())
        return (steepest + (rows - 1) * min(mean, steepest)) / rows + float(objective.ridge.max())

    def step_of(self, steepest: float, weights: Matrix) -> float:
        """Give twice the step of whole gradients: the bound on few rows is rough."""
        return 2.0 * super().step_of(steepest, weights)

    def blank(self, objective: Objective, size: int) -> GossipState:
        """Make a state of zeros, with a table."""
        state = super().blank(objective, size)
        state.table = np.zeros((len(objective.shard), objective.outputs))
        return state

    def begin(self, state: GossipState, objective: Objective, channel: Channel) -> None:
        """Fill the table at state.w by a pass."""
        _, own = objective.refresh(state.w, state.table)
        state.average[...] = own
        gossip.start(state, state.w, lambda z: channel.size * own + objective.ridge * z)

    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Mix, step, and bring the tracker up to date by the gradient of some rows."""
        rng = randomness.generator(channel.seed, ROWS, k, channel.rank)
        at = rng.choice(len(objective.shard), self.rows(objective), replace=False)

        def gradient(z: Model) -> Model:
            share = saga_gradient(objective, z, at, state.table, state.average)
            return np.asarray(channel.size * share + objective.ridge * z)

        return track(state, state.talk.row, gradient, float(state.control[GAMMA]))
