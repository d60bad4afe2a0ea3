"""Local SGD: H steps of SGD on every rank, then the average of the models.

H. B. McMahan et al., "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017
(FedAvg, all clients take part); S. U. Stich, "Local SGD converges fast and communicates little", ICLR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.saga.kernel_call import SagaCall, local_steps
from mpiopt.algorithms.saga.lipschitz import chosen_step
from mpiopt.compress import error_feedback
from mpiopt.compress.channel import Channel
from mpiopt.core import rng
from mpiopt.core.config.job import at_least
from mpiopt.core.state import PerRank, Replicated
from mpiopt.kernels.permutations import shuffled
from mpiopt.objective.evaluation import Model
from mpiopt.objective.objective import Objective

ORDER_STREAM, MODEL_STREAM = 22, 23  # of the random numbers that order blocks, and that compress models
ROUNDS_AN_EPOCH = 4  # if local_steps is 0


@dataclass
class LocalSgdState:
    """The averaged model, and the memory of the compressed differences."""

    w: Replicated  # (outputs, width) x
    own: PerRank  # (outputs, width) memory of (n_k/N)(x_k − x)
    whole: Replicated  # (outputs, width) sum of the memories
    gamma: Replicated  # (1,) γ
    loaded: PerRank  # (1,) 1 if `own` is this rank's


@dataclass(frozen=True)
class LocalSgd(Algorithm[LocalSgdState]):
    """x_k ← x, then steps x_k ← x_k − γ ∇F_block(x_k) over H rows, x ← x + Σ (n_k/N)(x_k − x). Baseline.

    ======  =====  =======================
    symbol  field  meaning
    ======  =====  =======================
    x       w      model
    γ       gamma  step
    ======  =====  =======================

    Not exact. With a constant γ, if H is a part of the rows, the noise of the blocks leaves F − F* of the order of γ.
    If H is all rows, each visited once in a new random order, the noise cancels. What remains is the drift to the
    ranks' own optima, of the order of (γ H/b)² ‖∇F_k(w*)‖².

    Parameters
    ----------
    local_steps
        H, rows visited by each rank in a round; 0: a quarter of its rows.
    step_size
        γ; 0: 1/(2 (smoothness of a block + l2)).
    batch
        b, rows of a block, at most 8.
    """

    name: ClassVar[str] = "local-sgd"
    baseline: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty"})
    compressed_memory: ClassVar[str] = "error-feedback"

    local_steps: int = 0
    step_size: float = 0.0
    batch: int = 8

    def __post_init__(self) -> None:
        if self.local_steps == -1:
            raise ValueError("local-sgd: --local-steps must be a number of rows; only saga has auto")
        for field, least in (("local_steps", 0), ("step_size", 0), ("batch", 1)):
            at_least(f"local-sgd: {field}", getattr(self, field), least)

    def blank(self, objective: Objective, size: int) -> LocalSgdState:
        """Return a state of zeros."""
        w = objective.zeros()
        return LocalSgdState(w, w.copy(), w.copy(), np.zeros(1), np.zeros(1))

    def init(self, objective: Objective, channel: Channel) -> LocalSgdState:
        """Start at the origin and measure the smoothness."""
        state = self.blank(objective, channel.size)
        state.w[...] = objective.beginning()
        state.loaded[0] = 1.0
        plain = np.ones(objective.width)
        state.gamma[0] = self.step_size or chosen_step(objective, state.w, self.batch, plain, channel)
        return state

    def rebuild(self, state: LocalSgdState, objective: Objective, channel: Channel) -> None:
        """Begin with an empty memory if the number of ranks changed."""
        if not state.loaded[0]:
            state.own[...], state.whole[...], state.loaded[0] = 0.0, 0.0, 1.0

    def step(self, k: int, state: LocalSgdState, objective: Objective, channel: Channel) -> StepInfo:
        """Do the local steps, and exchange their changes."""
        shard = objective.shard
        visits, local = self._local(k, state, objective, channel)
        change = (local - state.w) * (len(shard) / shard.total)
        state.w += error_feedback.update(change, state.own, state.whole, channel, k, MODEL_STREAM)
        rows = float(channel.sum(visits)[0])
        return StepInfo(max(rows, 1.0) / shard.total, float(state.gamma[0]))

    def _local(self, k: int, state: LocalSgdState, objective: Objective, channel: Channel) -> tuple[int, Model]:
        """Return the number of visited rows, and x_k: whole epochs first, then the rest of the round."""
        n, local = len(objective.shard), state.w.copy()
        wanted = -(-(self.local_steps or -(-n // ROUNDS_AN_EPOCH)) // self.batch) if n else 0
        blocks, done, visits = -(-n // self.batch), 0, 0
        step = np.full(objective.width, float(state.gamma[0]))
        while done < wanted:
            seed = rng.seed_of(channel.seed, ORDER_STREAM, k, channel.rank) + done
            starts = shuffled(n, self.batch, seed)[: wanted - done]
            # A SAGA step with a new table of zeros is a step of SGD.
            table, average = np.zeros((n, objective.outputs)), np.zeros_like(local)
            moves = SagaCall(starts, step, blocks / n, 0.0, self.batch, "lazy")
            local_steps(objective, moves, local, average, table)
            done += len(starts)
            visits += int(np.minimum(self.batch, n - starts).sum())
        return visits, local
