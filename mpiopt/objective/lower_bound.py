"""The best lower bound of F* so far, and when a tighter one is worth its price.

A tight bound costs an epoch or more (`mpiopt.objective.nearby`). It is computed where it promises to suffice: by an
estimate of the gap at the model, or because F has almost stopped falling. Otherwise a small part of the epochs spent
goes to bounds that only improve the history. A lower bound of F* stays one: the best so far is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.core.state import NamedVector, Slot
from mpiopt.objective.curvature import column_curvatures
from mpiopt.objective.dual_point import DualBound
from mpiopt.objective.duality_gap import TINY, VALUE_ROUNDING, expected_gap
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.nearby import BoundOfStep, Nearby
from mpiopt.objective.objective import Model, Objective

Vector = NDArray[np.float64]

LARGEST = float(np.finfo(np.float64).max) / 1e3  # a gap before the first one


@dataclass(frozen=True)
class LowerBoundTuning:
    """Constants that say when a bound is computed."""

    spare: float = 0.05  # part of a run's epochs for bounds that only improve the history
    first_cost: float = 4.0  # epochs that bounds near a model are expected to cost, before the first ones
    again: float = 0.5  # factor by which an estimate must fall after a bound that did not suffice
    grown: float = 3.0  # factor on the gap by which a step made it worse: first steps may
    negligible: float = 0.01  # of the tolerance: a gain of F that is not worth a step
    slowest: float = 0.9  # ratio of two successive falls of F beyond which no sum of such falls is believed


TUNING = LowerBoundTuning()


class Progress(NamedVector):
    """What the certifier has learned in a run; saved with a checkpoint, equal on all ranks."""

    lower = Slot(0)  # F* is at least this
    tried = Slot(1)  # estimate at the last bound that did not suffice
    ratio = Slot(2)  # the last costly bound over its estimate; 0: not known
    spent = Slot(3)  # epochs
    best = Slot(4)  # least certificate
    waits = Slot(5)  # evaluations since the best certificate halved
    tried_near = Slot(6)  # estimate at the last bound near a model that did not suffice
    value = Slot(7)  # F at the last evaluation
    fall = Slot(8)  # by how much F fell before it
    rate = Slot(9)  # that fall over the one before it
    tried_trend = Slot(10)  # what F would still fall, at the last bound near a model that did not suffice
    cost = Slot(11)  # epochs of the last bounds near a model

    @classmethod
    def begin(cls) -> Progress:
        """Return what is known before the first evaluation: nothing."""
        progress = cls.zeros()
        progress.lower = -np.inf
        progress.tried = progress.tried_near = progress.tried_trend = progress.best = np.inf
        progress.value = progress.fall = progress.rate = np.inf
        progress.cost = TUNING.first_cost
        return progress


class Trend(NamedTuple):
    """What F would still fall."""

    fast: float  # if it goes on as at the last evaluation
    slow: float  # if it goes on as slowly as at one of the last three


class Found(NamedTuple):
    """The outcome of bounds."""

    bound: DualBound | None  # the last one; None if there was none
    epochs: float


@dataclass
class LowerBound:
    """The best lower bound of F* so far; the penalty bounds the weights.

    Parameters
    ----------
    objective : Objective
        This rank's share.
    labels : LabelStatistics
        What bounds need to know of labels and rows.
    progress : Progress
        What was learned so far.
    """

    objective: Objective
    labels: LabelStatistics
    progress: Progress
    bends: Vector | None = None  # curvature of each column at the origin; computed where quasi-Newton steps need it

    def above(self, value: float) -> float:
        """Return F(w) minus the best lower bound, at least the rounding of F."""
        return max(value - self.progress.lower, 0.0) + VALUE_ROUNDING * abs(value)

    def raise_if_due(self, w: Model, exact: Evaluation, wanted: float, epochs: float, channel: Channel) -> Found:
        """Compute bounds at the model or near it where one promises to suffice, or costs little; collective.

        Parameters
        ----------
        w : ndarray, shape (outputs, width)
            The model.
        exact : Evaluation
            The objective there.
        wanted : float
            The gap that ends the run, in units of F.
        epochs : float
            Of the run so far.
        channel : Channel
            The ranks.
        """
        progress = self.progress
        rough, trend = expected_gap(self.objective, w, exact, self.labels), self._trend(exact.value)
        near = rough * (progress.ratio or 1.0)
        nearby = Nearby(self.objective, self.labels, channel)
        if suffices(rough, wanted, progress.tried):
            found = self._take(iter([nearby.at(w)]), wanted)
            progress.tried = rough
        elif self.objective.bounds is not None or self.objective.groups is not None:
            # Steps near the model know neither.
            return Found(None, 0.0)
        else:
            # Where exchanges are compressed their bytes count: bounds travel exactly, so only promising ones do.
            spare = not channel.compresses and is_spare(progress, progress.cost, epochs)
            due = spare or suffices(near, wanted, progress.tried_near)
            if not due and not suffices(trend.fast, wanted, progress.tried_trend):
                return Found(None, 0.0)
            found = self._take(nearby.newton(w, exact, TUNING.negligible * wanted), wanted)
            if found.bound is None and (due or suffices(trend.slow, wanted, progress.tried_trend)):
                if self.bends is None:
                    self.bends = channel.sum(column_curvatures(self.objective, self.objective.origin()))
                steps = nearby.quasi_newton(w, exact, inverse(self.bends + self.objective.ridge))
                found = self._take(steps, wanted)
            if found.bound is not None:
                progress.tried_near, progress.tried_trend, progress.cost = near, trend.fast, found.epochs
                if rough > 0.0 and np.isfinite(found.bound.lower):
                    progress.ratio = min(1.0, max(found.bound.value - found.bound.lower, 0.0) / rough)
        progress.spent += found.epochs
        return found

    def _take(self, steps: Iterator[BoundOfStep], wanted: float) -> Found:
        """Take bounds until one suffices or they become worse."""
        cost, last, bound = 0.0, LARGEST, None
        for bound, epochs in steps:
            cost += epochs
            self.progress.lower = max(self.progress.lower, bound.lower)
            gap = bound.value - bound.lower
            if not gap <= TUNING.grown * last or self.above(bound.value) <= wanted:
                break
            last = min(last, gap)
        return Found(bound, cost)

    def _trend(self, value: float) -> Trend:
        """Return what F would still fall, and note F."""
        progress = self.progress
        before, fall = progress.fall, abs(progress.value - value)
        rate = fall / max(before, TINY) if np.isfinite(before) else np.inf
        fast, slow = (min(r, TUNING.slowest) for r in (rate, max(rate, progress.rate)))
        known = np.isfinite(rate)
        progress.value, progress.fall, progress.rate = value, fall, rate
        if not known:
            return Trend(np.inf, np.inf)
        return Trend(fall * fast / (1.0 - fast), max(fall, slow * before) * slow / (1.0 - slow))


def is_spare(progress: Progress, cost: float, epochs: float) -> bool:
    """Return whether a bound costs little beside the run so far."""
    return progress.spent + cost <= TUNING.spare * epochs


def suffices(estimate: float, wanted: float, tried: float) -> bool:
    """Return whether a costly bound promises to suffice: it does, and promised less when it was tried last."""
    return estimate <= wanted and estimate < TUNING.again * tried


def inverse(bends: Vector) -> Vector:
    """Return the inverse of each curvature, 0 where there is none."""
    return np.divide(1.0, bends, out=np.zeros_like(bends), where=bends > 0.0)
