"""How long the next steps are: γ as it was found at the start, or by a line search as the rank goes along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import Model
from mpiopt.channel import Channel
from mpiopt.kernels.orders import Starts
from mpiopt.local_steps import BOUND, bounds, line_search
from mpiopt.objective import Objective
from mpiopt.stepsizes import Own, StepSize, Way

if TYPE_CHECKING:
    from mpiopt.algorithms.saga import Saga, SagaState

Vector = NDArray[np.float64]


class Length(Protocol):
    """What steps without a full metric ask of their length."""

    def pieces(self, starts: Starts, epoch: int) -> Iterable[Starts]:
        """Cut the blocks of a round, `epoch` of which are a local epoch, into those of one length."""

    def look(self, state: SagaState, objective: Objective, column: Vector, piece: Starts) -> None:
        """Prepare the length for the blocks of `piece`."""

    def gamma(self, state: SagaState) -> float:
        """Give γ."""

    def agree(self, state: SagaState, channel: Channel) -> None:
        """Agree on it at the end of a round; collective."""


@dataclass(frozen=True)
class Given:
    """The same γ at all times."""

    value: float

    def pieces(self, starts: Starts, epoch: int) -> Iterable[Starts]:
        """Give all at once."""
        return [starts]

    def look(self, state: SagaState, objective: Objective, column: Vector, piece: Starts) -> None:
        """Do nothing."""

    def gamma(self, state: SagaState) -> float:
        """Give the value."""
        return self.value

    def agree(self, state: SagaState, channel: Channel) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Searched:
    """γ from L_k and λ by the rule, L_k by trying; it lies in state.work."""

    rule: StepSize
    ridge: float  # λ, in the scaled columns
    batch: int
    times: float  # as long

    def pieces(self, starts: Starts, epoch: int) -> Iterable[Starts]:
        """Give the blocks between two looks."""
        return line_search.pieces(starts, epoch)

    def look(self, state: SagaState, objective: Objective, column: Vector, piece: Starts) -> None:
        """Try L_k on some of the blocks."""
        trial = line_search.Trial(objective, state.local, column, line_search.sampled(piece), self.batch)
        share = len(piece) * self.batch / len(objective.shard)
        state.work[BOUND] = line_search.followed(trial, float(state.work[BOUND]), share)

    def gamma(self, state: SagaState) -> float:
        """Give γ for L_k + λ."""
        return self.times * self.rule.step(float(state.work[BOUND]) + self.ridge, Own(0.0, 0.0))

    def agree(self, state: SagaState, channel: Channel) -> None:
        """Take the largest L_k."""
        state.work[BOUND] = channel.max(self.rule.number(Own(0.0, float(state.work[BOUND]))))[0]


def length_of(options: Saga, batch: int, objective: Objective, w: Model, column: Vector, channel: Channel) -> Length:
    """Give the length that the options ask for, with the data's constants at `w` where those count; collective."""
    rule, times = options.rule, channel.size if options.variant == "C" else 1  # C weighs an innovation by n_k/N
    if rule is None:
        return Given(times * bounds.chosen_step(objective, w, batch, column, channel))
    if rule.way is Way.NOTHING:
        return Given(rule.step(0.0, Own(0.0, 0.0)))
    if rule.way is Way.MAX:
        return Searched(rule, float((objective.ridge * column).max(initial=0.0)), batch, times)
    if objective.loss.curvature_bound is None:
        raise ValueError(
            f"step_size {rule.name} needs a loss whose curvature is bounded; {objective.loss.name} is not"
        )
    found = bounds.theoretical_bound(objective, w, batch, column, channel)
    return Given(times * rule.step(found, Own(0.0, found)))
