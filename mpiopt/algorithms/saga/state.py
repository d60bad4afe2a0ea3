"""The state of distributed SAGA between two rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.saga.tuning import TUNING
from mpiopt.core.state import Derived, Layout, NamedVector, PerRank, Replicated, Sharded, Slot
from mpiopt.objective.objective import Objective


class StepControl(NamedVector):
    """Numbers that the rounds adapt, equal on all ranks.

    Some slots share a place: plain steps use `lengthened` and those of AdGD, preconditioned steps `rate_before` and
    those of the chord.
    """

    scale = Slot(0)  # factor on the step size
    value = Slot(1)  # F at the last accepted model
    decrement = Slot(2)  # squared gradient at the last refresh, in the coordinates of the steps
    since_refresh = Slot(3)  # epochs
    damping = Slot(4)  # of the preconditioner, as a part of the bound of a row's curvature
    growth = Slot(5)  # factor by which a longer step is tried next
    round_epochs = Slot(6)  # local epochs in a round
    start_epochs = Slot(7)  # spent before round 0, not yet reported
    lengthened = Slot(8)  # factor by which the step was just lengthened; 0: no trial is under way
    rate_before = Slot(8)  # rate of progress before the preconditioner was made; 0: it has been judged
    trail_length = Slot(9)  # models in the trail
    mix = Slot(10)  # part of the way to the compressed average of the models that all ranks go
    rest = Slot(11)  # periods until the next try of a longer step, or the next preconditioner
    wait = Slot(12)  # the value that `rest` had at first
    adgd_step = Slot(13)  # step of AdGD; 0: none yet
    adgd_ratio = Slot(14)  # quotient of the last two steps of AdGD
    adgd_curvature = Slot(15)  # filtered curvature of AdGD
    chord = Slot(13)  # 1: the next round is a step by the exact gradient instead of local steps
    local_rate = Slot(14)  # of the decrement, what an epoch of the last period of local steps left; 0: not known
    last_value = Slot(16)  # F at the last refresh
    last_fall = Slot(17)  # by which F fell in the period before

    def allows(self, value: float) -> bool:
        """Return whether F has not risen above its last accepted value, up to rounding; False for nan."""
        return value <= self.value + TUNING.rounding * abs(self.value)

    def is_far_out(self, value: float, times: float) -> bool:
        """Return whether F is above `times` its last accepted value, or nan."""
        return not value <= times * abs(self.value)

    def refuse_divergence(self) -> None:
        """Raise ValueError if the step has become so short that no step size can help."""
        if self.scale < TUNING.shortest_scale:
            raise ValueError(
                f"saga diverges at any step size (F still rises at {self.scale:.0e} times the first one): check "
                "that the data are finite and the penalty is not negative"
            )


class WorkCounters(NamedVector):
    """Work and speed of one rank."""

    visited = Slot(0)  # rows visited by local steps
    counted = Slot(1)  # of these, rows that are in the count of epochs (asynchronous exchange)
    speed = Slot(2)  # local epochs a second in the last timed round; 0: not known
    round_seconds = Slot(3)  # length of the next timed round
    seconds_since_refresh = Slot(4)  # of timed rounds
    slowest_pass = Slot(5)  # seconds that the slowest rank needs for a pass over its rows
    smoothness = Slot(6)  # L of the line search; 0: none yet


class SharedModel(NamedTuple):
    """What all ranks know after an exchange, or its change by one."""

    w: NDArray[np.float64]  # (outputs, width) w̄
    average: NDArray[np.float64]  # (outputs, width) G


@dataclass
class SagaState:
    """Between two rounds. Averages are in units of the whole: g_k = (1/N) Σ_{S_k} α_i and G = Σ_k g_k."""

    w: Replicated  # (outputs, width) w̄, the average of the ranks' iterates at the last exchange
    average: Replicated  # (outputs, width) G at the last exchange
    own: PerRank  # (outputs, width) g_k, kept up to date
    shared: PerRank  # (outputs, width) g_k as it was in the last exchange
    known_own: PerRank  # (outputs, width) h_k, the memory of compressed exchanges; 0 without compression
    known: Replicated  # (outputs, width) Σ h_k
    residual: PerRank  # (outputs · width,) error of the compressed downlink on this rank's slice of G, sent later
    local: PerRank  # (outputs, width) w_k; equal to w unless the exchange overlaps with the steps
    table: Sharded  # (n, outputs) s_i loss_i' at the last visit of row i, so that α_i = table_i x_iᵀ
    place: PerRank  # (2, outputs, width) s_k, where rows were visited last, on average, and Σ p_k s_k; else (0, …)
    work: Annotated[WorkCounters, Layout.PER_RANK]  # (7,)
    cursor: PerRank  # (2,) local epoch, and position in its order of blocks; -1: not loaded
    anchor: Replicated  # (outputs, width) where the preconditioner was made
    best: Replicated  # (outputs, width) the last model that an exact evaluation accepted
    control: Annotated[StepControl, Layout.REPLICATED]  # (18,)
    trail: Replicated  # (m + 1 or 0, outputs, width) the last refreshed models, the newest last
    steps: Derived  # LocalSteps: what the data and the anchor determine

    @classmethod
    def zeros(cls, objective: Objective, trail: int, places: int) -> SagaState:
        """Return a state of zeros for one rank.

        Parameters
        ----------
        objective : Objective
            Shard, loss and penalty of this rank; they give the shapes.
        trail : int
            Models to keep for the extrapolation.
        places : int
            2 where the exchange needs `place`, else 0.
        """

        def models(*count: int) -> NDArray[np.float64]:
            return np.zeros((*count, objective.outputs, objective.width))

        return cls(
            w=models(), average=models(), own=models(), shared=models(), known_own=models(), known=models(),
            residual=np.zeros(objective.outputs * objective.width), local=models(),
            table=np.zeros((len(objective.shard), objective.outputs)), place=models(places),
            work=WorkCounters.zeros(), cursor=np.full(2, -1, np.int64), anchor=models(), best=models(),
            control=StepControl.zeros(), trail=models(trail), steps=None,
        )  # fmt: skip

    def go_on_from(self, w: NDArray[np.float64]) -> None:
        """Let the next local steps begin at `w`, the new average of the iterates."""
        self.w[...] = w
        self.local[...] = w

    def extend_trail(self) -> bool:
        """Put w into the trail; say whether the trail is full, and let it begin anew then."""
        if not len(self.trail):
            return False
        self.trail[:-1] = self.trail[1:]
        self.trail[-1] = self.w
        self.control.trail_length += 1.0
        if self.control.trail_length < len(self.trail):
            return False
        self.control.trail_length = 1.0
        return True

    def forget_memory(self) -> None:
        """Empty the memory of compressed exchanges: it keeps the rounding of large numbers, and old coordinates."""
        for memory in (self.known_own, self.known, self.residual):
            memory[...] = 0.0

    def refresh_is_due(self) -> bool:
        """Return whether a refresh of the table is due: after enough epochs and, if rounds are timed, enough time.

        All ranks wait for the slowest one in a refresh; the work before it should be in proportion.
        """
        due = self.steps.refresh and self.control.since_refresh >= self.steps.refresh - TUNING.due_slack
        return bool(due) and self.work.seconds_since_refresh >= TUNING.refresh_patience * self.work.slowest_pass
