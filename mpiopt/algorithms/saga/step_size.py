"""How long steps without a full metric are: γ as found at the start, by a line search, or by what exchanges show.

What `step_size` of distributed SAGA may be: a number, auto, or a rule of the family `stepsizes` by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga import line_search, lipschitz
from mpiopt.algorithms.saga.options import SagaOptions
from mpiopt.algorithms.saga.state import BOUND, FILTERED, PACE, RATIO, ExchangeState, SagaState
from mpiopt.algorithms.step_sizes.adgd import AdgdOptions, AdgdState, measured_curvature, next_state
from mpiopt.algorithms.step_sizes.base import Exchanged, LocalStep, StepSize
from mpiopt.compress.channel import Channel
from mpiopt.kernels.permutations import Starts
from mpiopt.objective.evaluation import Model
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
TUNING = AdgdOptions()  # of AdGD


class StepLength(Protocol):
    """What the local work asks of it."""

    def pieces(self, starts: Starts, epoch: int) -> Iterable[Starts]:
        """Cut the blocks of a round, `epoch` of which are a local epoch, into those of one length."""

    def look(self, state: SagaState, objective: Objective, column: Vector, piece: Starts) -> None:
        """Prepare the length for the blocks of `piece`."""

    def gamma(self, state: SagaState) -> float:
        """Give γ."""

    def agree(self, was: ExchangeState, state: SagaState, channel: Channel) -> None:
        """Agree on it after an exchange, before which all ranks knew `was`; collective."""


@dataclass(frozen=True)
class FixedStep:
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

    def agree(self, was: ExchangeState, state: SagaState, channel: Channel) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class LineSearchStep:
    """γ = times · rule(L_k + λ), L_k by trying (`local_steps.line_search`); one number more at each exchange."""

    rule: StepSize
    ridge: float  # λ, in the scaled columns
    batch: int
    times: float

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
        return self.times * self.rule.step(float(state.work[BOUND]) + self.ridge, LocalStep(0.0, 0.0))

    def agree(self, was: ExchangeState, state: SagaState, channel: Channel) -> None:
        """Take the largest L_k."""
        state.work[BOUND] = channel.max(self.rule.contribution(LocalStep(0.0, float(state.work[BOUND]))))[0]


@dataclass(frozen=True)
class AdaptiveStep:
    """γ = times/(2 ((L_max + (b − 1) L̂)/b + λ)), L̂ <= L the mean's curvature by AdGD from exchanges' (w̄, G).

    All ranks hold these, so it costs no message. What a single row can do is bounded by L_max: the mean's curvature
    says nothing of it, and γ = α/L̂, or L_max taken for as much smaller as L̂ is, was too long (docs/step-sizes.md).
    """

    rule: StepSize
    known: lipschitz.Constants
    batch: int
    times: float

    def pieces(self, starts: Starts, epoch: int) -> Iterable[Starts]:
        """Give all at once."""
        return [starts]

    def look(self, state: SagaState, objective: Objective, column: Vector, piece: Starts) -> None:
        """Do nothing."""

    def gamma(self, state: SagaState) -> float:
        """Give γ for L̂."""
        pace = float(state.control[PACE])
        mean = TUNING.alpha / self.rule.step(pace, LocalStep(pace, 0.0)) if pace else self.known.mean
        return self.times * lipschitz.step(self.known._replace(mean=min(mean, self.known.mean)), self.batch)

    def agree(self, was: ExchangeState, state: SagaState, channel: Channel) -> None:
        """Take AdGD's step for the way of w̄ and the change of G on it; all ranks see the same."""
        control = state.control
        first = TUNING.alpha / self.known.mean if self.known.mean > 0.0 else 1.0
        pace = AdgdState(*(float(v) for v in control[[PACE, RATIO, FILTERED]])) if control[PACE] else AdgdState(first)
        seen = measured_curvature(state.average - was.average, state.w - was.w)
        control[[PACE, RATIO, FILTERED]] = next_state(pace, seen, TUNING)


def length_of(
    options: SagaOptions, batch: int, objective: Objective, w: Model, column: Vector, channel: Channel
) -> StepLength:
    """Give the length that the options ask for, with the data's constants at `w` where those count; collective.

    Raises
    ------
    ValueError
        If the rule needs a bound of the loss's curvature and there is none.
    """
    rule, times = options.rule, float(channel.size if options.variant == "C" else 1)  # C: θ = n_k/N in steps
    if rule is not None and rule.exchanged is Exchanged.NOTHING:
        return FixedStep(rule.step(0.0, LocalStep(0.0, 0.0)))
    if rule is not None and rule.exchanged is Exchanged.MAX:
        return LineSearchStep(rule, float((objective.ridge * column).max(initial=0.0)), batch, times)
    if rule is not None and rule.exchanged is Exchanged.MAX_ONCE:
        if objective.loss.curvature_bound is None:
            raise ValueError(
                f"step_size {rule.name} needs a loss whose curvature is bounded; {objective.loss.name} is not"
            )
        found = lipschitz.theoretical_bound(
            lipschitz.constants(objective, w, column, lipschitz.EVERY, channel), batch
        )
        return FixedStep(times * rule.step(found, LocalStep(0.0, found)))
    known = lipschitz.constants(objective, w, column, lipschitz.SAMPLE, channel)
    return (
        FixedStep(times * lipschitz.step(known, batch)) if rule is None else AdaptiveStep(rule, known, batch, times)
    )
