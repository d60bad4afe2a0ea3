"""The state of distributed SAGA between two rounds, and what its local work is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.compress.whitening import Coordinates
from mpiopt.core.state import Derived, PerRank, Replicated, Sharded
from mpiopt.kernels.polling import Integers, Poll
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.objective import Objective

# Fields of SagaState.control: step scale, F at the last good model, squared gradient there, epochs since the refresh,
# damping of the metric, factor by which a longer step is tried, epochs of local work in a round, epochs spent before
# the first round, the factor by which the step was just lengthened (compressed, in a metric: the rate of progress
# before the metric was taken), models in the trail, the part of the way to the average of the ranks' models that a
# compressed exchange goes, periods until the next try (or metric), and how many these were last; AdGD's step, ratio
# and filter; F at the last refresh, and by how much it fell in the period before.
SCALE, VALUE, DECREMENT, SINCE, DAMPING, FACTOR, ROUND, SPENT, GREW = range(9)


TRAIL, MIX, REST, WAIT, PACE, RATIO, FILTERED, LAST, FALL = range(9, 18)


CONTROLS = 18


# Fields of SagaState.work: rows visited, those of them that are in the count of epochs; where rounds are timed,
# epochs a second, the seconds of the next round, those since the refresh, those of the slowest rank for a pass; the
# smoothness that a line search has found.
VISITED, COUNTED, SPEED, LENGTH, AWAY, PASS, BOUND = range(7)


ORDER_STREAM = 1  # of randomness: the order of blocks in a local epoch


PIECES = 8  # of a round by time or without a common clock, between which a rank looks at the clock or at its mail


FASTER = 2.0  # the first factor by which longer steps are tried, without a metric


SLOW = 0.03  # a refresh period that left more of the decrement than this was slow


class ExchangeState(NamedTuple):
    """What all ranks know after an exchange."""

    w: NDArray[np.float64]  # w̄
    average: NDArray[np.float64]  # G


class LocalSteps(Protocol):
    """What `Saga` asks of its local work."""

    refresh: float  # epochs between two refreshes of the table

    def run(
        self, state: SagaState, objective: Objective, channel: Channel, poll: Poll | None = None, epochs: float = 0.0
    ) -> None:
        """Do the local steps of one round, or of so many `epochs`, on state.local, own and table; count the rows.

        `poll` is called now and then.
        """
        ...

    def step_size(self, state: SagaState) -> float:
        """Give the step that the record shows."""
        ...

    def agree(self, was: ExchangeState, state: SagaState, channel: Channel) -> None:
        """Agree on the length of the steps after a round, before which all ranks knew `was`; collective."""
        ...

    def coordinates(self) -> Coordinates:
        """Give the coordinates in which differences of models and of gradients are compressed."""
        ...

    def adapt(self, state: SagaState, exact: Evaluation, tried: int, objective: Objective, channel: Channel) -> float:
        """React to an exact evaluation at state.w; give the epochs that this cost.

        `tried` says how often the way from the last good model had to be cut; above 2: all of it was given up.
        """
        ...


def upcoming(cursor: Integers, blocks: int, wanted: int, order_of: Callable[[int], Integers]) -> list[Integers]:
    """Give the next `wanted` blocks, epoch by epoch, each in its own order; moves the cursor (epoch, position)."""
    pieces = []
    while wanted > 0:
        piece = order_of(int(cursor[0]))[cursor[1] : cursor[1] + wanted]
        pieces.append(piece)
        wanted -= len(piece)
        cursor[1] += len(piece)
        if cursor[1] == blocks:
            cursor[:] = cursor[0] + 1, 0
    return pieces


def rows_from(starts: Integers, block: int, rows: int) -> int:
    """Give how many rows the blocks of `block` rows that begin at `starts` have; the last one may be shorter."""
    return int(np.minimum(block, rows - starts).sum())


def mixed(control: NDArray[np.float64], tried: int, d: int, channel: Channel) -> None:
    """Go a smaller part of the way to the compressed average where F rose, a larger one again where it fell."""
    most = channel.shrink_of_sum(d)
    control[MIX] = max(most / 4, 0.5 * control[MIX]) if tried else min(most, 1.25 * control[MIX])


@dataclass
class SagaState:
    """Between two rounds. Averages are in units of the whole: g_k = (1/N) Σ_{S_k} α_i and G = Σ_k g_k."""

    w: Replicated  # (outputs, width) w̄, the average of the ranks' iterates at the last exchange
    average: Replicated  # (outputs, width) G at the last exchange
    own: PerRank  # (outputs, width) g_k, kept up to date
    shared: PerRank  # (outputs, width) g_k as it was in the last exchange
    known_own: PerRank  # (outputs, width) h_k, the memory of compressed exchanges; 0 without
    known: Replicated  # (outputs, width) Σ h_k
    residual: PerRank  # (outputs · width,) what the compressed way back still owes of this rank's slice of G
    local: PerRank  # (outputs, width) w_k; equal to w unless the exchange overlaps with the steps
    table: Sharded  # (n, outputs) s_i loss_i' at the last visit of row i, so that α_i = table_i x_iᵀ
    place: PerRank  # (2, outputs, width) where the table's rows were visited last, on average, and s = Σ p_k of these
    # (7,) rows visited, and the pace of this rank and of its rounds, see mpiopt.algorithms.saga.local_steps
    work: PerRank
    cursor: PerRank  # (2,) local epoch and position in its order of blocks
    anchor: Replicated  # (outputs, width) where the metric was taken
    best: Replicated  # (outputs, width) the last model that an exact evaluation accepted
    control: Replicated  # (CONTROLS,) numbers that the rounds adapt, see mpiopt.algorithms.saga.local_steps
    trail: Replicated  # (m + 1 or 0, outputs, width) the last refreshed models, the newest last
    steps: Derived  # LocalSteps: what the data and the anchor determine
