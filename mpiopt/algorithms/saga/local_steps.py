"""What distributed SAGA asks of the local work between two exchanges, and the order in which it visits blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from mpiopt.algorithms.saga.state import SagaState, SharedModel, StepControl, WorkCounters
from mpiopt.compress.channel import Channel
from mpiopt.compress.whitening import Coordinates
from mpiopt.core import rng
from mpiopt.kernels.polling import Integers, Poll
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective

ORDER_STREAM = 1  # of randomness: the order of blocks in a local epoch


class LocalSteps(Protocol):
    """Local steps of one kind: plain or preconditioned."""

    refresh: float  # epochs between two refreshes of the table; 0: none

    def run(
        self, state: SagaState, objective: Objective, channel: Channel, poll: Poll | None = None, epochs: float = 0.0
    ) -> None:
        """Do the local steps of a round; updates local, own, table, cursor and work.visited of the state.

        Parameters
        ----------
        state, objective, channel
            The state, the rows and the ranks. Nothing is sent.
        poll : callable, optional
            Called now and then, for an exchange under way.
        epochs : float
            Local epochs to do; 0: those of a round.
        """
        ...

    def chord(self, state: SagaState, objective: Objective, channel: Channel) -> Model | None:
        """Return where one step by the exact gradient at state.w leads, if it is due; else None; collective."""
        ...

    def step_size(self, control: StepControl, work: WorkCounters) -> float:
        """Return the step size that the history shows."""
        ...

    def agree(self, change: SharedModel, control: StepControl, work: WorkCounters, channel: Channel) -> None:
        """Agree with the other ranks on the length of the steps after an exchange that made `change`; collective."""
        ...

    def coordinates(self) -> Coordinates:
        """Return the coordinates in which differences of models and of gradients are compressed."""
        ...

    def adapt(self, state: SagaState, exact: Evaluation, cuts: int, objective: Objective, channel: Channel) -> float:
        """Adapt the step to an exact evaluation at state.w; collective.

        Parameters
        ----------
        state : SagaState
            Its control is updated.
        exact : Evaluation
            F and its gradient at state.w.
        cuts : int
            How often the way from the last good model had to be cut; above `SagaTuning.cuts` it was given up.
        objective, channel
            The rows and the ranks.

        Returns
        -------
        float
            Epochs that this cost.
        """
        ...


def next_blocks(cursor: Integers, blocks: int, wanted: int, order_of: Callable[[int], Integers]) -> list[Integers]:
    """Return the next `wanted` blocks in one array for each local epoch; moves the cursor (epoch, position)."""
    parts = []
    while wanted > 0:
        part = order_of(int(cursor[0]))[cursor[1] : cursor[1] + wanted]
        parts.append(part)
        wanted -= len(part)
        cursor[1] += len(part)
        if cursor[1] == blocks:
            cursor[:] = cursor[0] + 1, 0
    return parts


def order_seed(seed: int, epoch: int, rank: int) -> int:
    """Return the seed of a rank's order of blocks in a local epoch."""
    return rng.seed_of(seed, ORDER_STREAM, epoch, rank)


def rows_in(starts: Integers, block: int, rows: int) -> int:
    """Count the rows of the blocks of `block` rows that begin at `starts`; the last one may be shorter."""
    return int(np.minimum(block, rows - starts).sum())
