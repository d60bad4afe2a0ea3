"""The local work of distributed SAGA between two exchanges: what `Saga` asks of it, and how its kind is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt import metric
from mpiopt.channel import Channel
from mpiopt.coordinates import Coordinates
from mpiopt.exact import Exact
from mpiopt.kernels.pace import Integers, Poll
from mpiopt.objective import Objective

if TYPE_CHECKING:
    from mpiopt.algorithms.saga import Saga, SagaState


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
LARGEST_FULL = 2000  # columns; above, width² numbers cost more than they save
FASTER = 2.0  # the first factor by which longer steps are tried, without a metric
SLOW = 0.03  # a refresh period that left more of the decrement than this was slow


class Common(NamedTuple):
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

    def agree(self, was: Common, state: SagaState, channel: Channel) -> None:
        """Agree on the length of the steps after a round, before which all ranks knew `was`; collective."""
        ...

    def coordinates(self) -> Coordinates:
        """Give the coordinates in which differences of models and of gradients are compressed."""
        ...

    def adapt(self, state: SagaState, exact: Exact, tried: int, objective: Objective, channel: Channel) -> float:
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


def plan(options: Saga, state: SagaState, objective: Objective, channel: Channel) -> LocalSteps:
    """Choose the kind of local work; collective.

    The full metric where its width² numbers fit and the penalty is smooth (the prox in a full metric is no longer
    one of each coordinate); else blocks of 8 rows and one step for each column.
    """
    from mpiopt.local_steps.in_metric import MetricSteps
    from mpiopt.local_steps.plain import PlainSteps

    if full_metric(options, objective):
        return MetricSteps.at(options, state, objective, channel)
    return PlainSteps.at(options, state, objective, channel, options.preconditioner)


def full_metric(options: Saga, objective: Objective) -> bool:
    """Say whether the local steps are to be made in the full metric; rules by name are for steps without."""
    preconditioner, smooth = options.preconditioner, objective.penalty.strengths[0] == 0.0
    if preconditioner == "full" and not smooth:
        raise ValueError("preconditioner 'full' needs a smooth penalty; with l1 use 'diagonal' or 'none'")
    exact = objective.outputs == 1 or metric.coupled(objective)  # a metric of one class alone misleads the others
    named = isinstance(options.step_size, str) and options.rule is not None
    fits = smooth and exact and not named and objective.width <= LARGEST_FULL
    return preconditioner == "full" or (preconditioner == "auto" and fits)
