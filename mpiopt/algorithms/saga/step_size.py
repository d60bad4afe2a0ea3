"""The length γ of steps without a full preconditioner: fixed, by a line search, or adapted to what exchanges show.

The option `step_size` of distributed SAGA is a number, "auto", or the name of a rule of
`mpiopt.algorithms.step_sizes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga import line_search, lipschitz
from mpiopt.algorithms.saga.options import SagaOptions
from mpiopt.algorithms.saga.state import SharedModel, StepControl, WorkCounters
from mpiopt.algorithms.step_sizes import adgd
from mpiopt.algorithms.step_sizes.base import Exchanged, LocalStep, StepSize
from mpiopt.compress.channel import Channel
from mpiopt.kernels.permutations import Starts
from mpiopt.objective.evaluation import Model
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
ADGD = adgd.AdgdOptions()


class StepLength:
    """Base class of the step lengths of plain SAGA; a subclass computes γ and overrides the steps that it needs."""

    def cut(self, starts: Starts, epoch: int) -> Iterable[Starts]:
        """Divide the blocks of a round into groups with one γ each, here one; a local epoch has `epoch` blocks."""
        return [starts]

    def measure(self, work: WorkCounters, objective: Objective, w: Model, column: Vector, starts: Starts) -> None:
        """Prepare γ for the blocks that begin at `starts`; by default do nothing."""

    def gamma(self, control: StepControl, work: WorkCounters) -> float:
        """Return γ."""
        raise NotImplementedError

    def agree(self, change: SharedModel, control: StepControl, work: WorkCounters, channel: Channel) -> None:
        """Agree with the other ranks after an exchange; by default do nothing; collective."""


@dataclass(frozen=True)
class FixedStep(StepLength):
    """The same γ at all times."""

    value: float

    def gamma(self, control: StepControl, work: WorkCounters) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class LineSearchStep(StepLength):
    """γ = times · rule(L_k + λ), L_k by `line_search`; one number more in each exchange."""

    rule: StepSize
    ridge: float  # λ, in the scaled columns
    batch: int
    times: float

    def cut(self, starts: Starts, epoch: int) -> Iterable[Starts]:
        """Cut into the blocks between two searches."""
        return line_search.between_searches(starts, epoch)

    def measure(self, work: WorkCounters, objective: Objective, w: Model, column: Vector, starts: Starts) -> None:
        """Search L_k on some of the blocks."""
        test = line_search.DescentTest(objective, w, column, line_search.sampled(starts), self.batch)
        share = len(starts) * self.batch / len(objective.shard)
        work.smoothness = line_search.updated(test, work.smoothness, share)

    def gamma(self, control: StepControl, work: WorkCounters) -> float:
        """Return γ for L_k + λ."""
        return self.times * self.rule.step(work.smoothness + self.ridge, LocalStep(0.0, 0.0))

    def agree(self, change: SharedModel, control: StepControl, work: WorkCounters, channel: Channel) -> None:
        """Take the largest L_k."""
        work.smoothness = channel.max(self.rule.contribution(LocalStep(0.0, work.smoothness)))[0]


@dataclass(frozen=True)
class AdaptiveStep(StepLength):
    """γ = times/(2 ((L_max + (b − 1) L̂)/b + λ)), with L̂ <= L the mean's curvature by AdGD from the exchanged (w̄, G).

    All ranks hold these, so it costs no message. L_max bounds what a single row can do: the curvature of the mean
    says nothing of that. Both γ = α/L̂ and L_max reduced like L̂ were too long (docs/explanation/step-sizes.md).
    """

    rule: StepSize
    known: lipschitz.SmoothnessConstants
    batch: int
    times: float

    def gamma(self, control: StepControl, work: WorkCounters) -> float:
        """Return γ for L̂."""
        step = control.adgd_step
        mean = ADGD.alpha / self.rule.step(step, LocalStep(step, 0.0)) if step else self.known.mean
        return self.times * lipschitz.step(self.known._replace(mean=min(mean, self.known.mean)), self.batch)

    def agree(self, change: SharedModel, control: StepControl, work: WorkCounters, channel: Channel) -> None:
        """Take the step of AdGD for the way of w̄ and the change of G on it; it is the same on all ranks."""
        first = ADGD.alpha / self.known.mean if self.known.mean > 0.0 else 1.0
        pace = adgd.AdgdState(control.adgd_step, control.adgd_ratio, control.adgd_curvature)
        slope = adgd.measured_curvature(change.average, change.w)
        pace = adgd.next_state(pace if pace.step else adgd.AdgdState(first), slope, ADGD)
        control.adgd_step, control.adgd_ratio, control.adgd_curvature = pace.step, pace.ratio, pace.filtered


def length_of(
    options: SagaOptions, batch: int, objective: Objective, w: Model, column: Vector, channel: Channel
) -> StepLength:
    """Return the step length that the options ask for; collective.

    Parameters
    ----------
    options : SagaOptions
        `step_size` names a rule; variant C has the factor n_k/N in its steps.
    batch : int
        Rows of a block.
    objective : Objective
        Rows and loss of this rank.
    w : (outputs, width) array
        Where constants are measured.
    column : (width,) array
        Scale of each column.
    channel : Channel
        The ranks.

    Raises
    ------
    ValueError
        If the rule needs a bound of the loss's curvature and there is none.
    """
    rule, times = options.rule, float(channel.size if options.variant == "C" else 1)
    if rule is not None and rule.exchanged is Exchanged.NOTHING:
        return FixedStep(rule.step(0.0, LocalStep(0.0, 0.0)))
    if rule is not None and rule.exchanged is Exchanged.MAX:
        return LineSearchStep(rule, float((objective.ridge * column).max(initial=0.0)), batch, times)
    if rule is not None and rule.exchanged is Exchanged.MAX_ONCE:
        if objective.loss.curvature_bound is None:
            raise ValueError(
                f"step_size {rule.name} needs a loss whose curvature is bounded; that of {objective.loss.name} is "
                "not: use step_size auto or line-search"
            )
        known = lipschitz.constants(objective, w, column, lipschitz.EVERY_ROW, channel)
        bound = lipschitz.theoretical_bound(known, batch)
        return FixedStep(times * rule.step(bound, LocalStep(0.0, bound)))
    known = lipschitz.constants(objective, w, column, lipschitz.SAMPLE, channel)
    return (
        FixedStep(times * lipschitz.step(known, batch)) if rule is None else AdaptiveStep(rule, known, batch, times)
    )
