"""Certify that a model is near the optimum, at the price of few passes over the rows.

With a penalty the certificate is a duality gap. Each evaluation gives a bound by itself, from its gradient
(`mpiopt.objective.duality_gap`). It is loose where the intercept is not at its best or with l1; a tight one is
computed where it promises to suffice (`mpiopt.objective.lower_bound`). Without a penalty the Newton decrement takes
the place of the gap (`mpiopt.objective.decrement`), and its estimate in standardised columns that of the gradient's
bound.

All certificates are relative to F(w) − floor, where floor is a lower bound of the loss. They have no units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.data.offsets import labels_of
from mpiopt.objective import decrement, recession, rounding
from mpiopt.objective.curvature import column_curvatures, used_columns
from mpiopt.objective.curvature_root import is_exchangeable
from mpiopt.objective.dual_point import DualBound, bound_of_slopes
from mpiopt.objective.duality_gap import (
    LEAST_SCALE,
    TINY,
    VALUE_ROUNDING,
    gap_of_gradient,
    gap_of_noise,
    label_statistics,
)
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.intercept import with_best_constants
from mpiopt.objective.judgement import DECREMENT, EXACT, GAP, STANDARDISED, Certificate, Judgement, list_columns
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.lower_bound import LowerBound, Progress, inverse, is_spare, suffices
from mpiopt.objective.objective import Model, Objective

Vector = NDArray[np.float64]

ADVICE = "add a penalty, for example l2 = 1/N"  # where no optimum exists
LEAVE_OUT = "train without an intercept"  # where none exists because of it: a penalty does not act on it


@dataclass(frozen=True)
class CertificateTuning:
    """Constants of the certifier."""

    first_look: float = 100.0  # times the tolerance: the first decrement, since its estimate is rough
    halved: float = 0.5  # factor on the best certificate that counts as progress
    falls: float = 1e-6  # of F: if it still falls by more between evaluations, it is not rounding that stops it
    patience: int = 4  # evaluations without progress before rounding is measured; then 8, 16 …
    near_rounding: float = 1e-8  # largest certificate that counts as exact where rounding ends all progress
    flat: float = 1e-12  # curvature of a loss by its margin beside the largest: the least value is not attained
    exact: float = 1e-4  # of the tolerance: the largest decrement that is believed where curvature jumps
    above_noise: float = 4.0  # times the effect of rounding: a certificate below cannot be made smaller


TUNING = CertificateTuning()


@dataclass
class Certifier:
    """Judges the models of a run.

    Parameters
    ----------
    objective : Objective
        This rank's share; its `origin` has the best intercept.
    start : Evaluation
        At the origin.
    labels : LabelStatistics
        What bounds need to know of labels and rows.
    tol : float
        Tolerance of the run.
    bends : ndarray, shape (width,)
        Curvature of each column at the origin; empty with a penalty.
    lower : LowerBound
        The best lower bound of F* so far, and what was learned.
    """

    objective: Objective
    start: Evaluation
    labels: LabelStatistics
    tol: float
    bends: Vector
    lower: LowerBound

    @property
    def progress(self) -> Progress:
        """What was learned so far."""
        return self.lower.progress

    @classmethod
    def begin(cls, objective: Objective, tol: float, channel: Channel) -> Certifier:
        """Find the best constants without features, and evaluate there; collective.

        Its `objective` is the given one with these constants as its origin: a run starts there.
        """
        objective = with_best_constants(objective, channel)
        start = evaluate_exact(objective, objective.origin(), channel)
        labels = label_statistics(objective, channel)
        bends = (
            np.empty(0) if is_penalised(objective) else channel.sum(column_curvatures(objective, objective.origin()))
        )
        return cls(objective, start, labels, tol, bends, LowerBound(objective, labels, Progress.begin()))

    def judge(self, w: Model, exact: Evaluation, epochs: float, channel: Channel) -> Judgement:
        """Certify a model of the run; collective.

        Parameters
        ----------
        w : ndarray, shape (outputs, width)
            The model. It is replaced by a better one that was evaluated on the way where that makes it certified.
        exact : Evaluation
            The objective at `w`.
        epochs : float
            Epochs of the run so far.
        channel : Channel
            The ranks.
        """
        absent = self.absent_labels()
        if absent:
            certificate = Certificate(GAP, (exact.value - self.labels.floor) / self.scale(exact.value))
            reason = (
                f"no optimum exists: the loss falls for ever as the intercept moves, because {absent}; {LEAVE_OUT}"
            )
            return Judgement(certificate, 0.0, exact, "no optimum", reason)
        if self.falls_for_ever(exact) and self._separates(w, channel):
            return self._no_optimum(w - self.objective.origin(), exact, 0.0)
        if exact.value - self.labels.floor <= VALUE_ROUNDING * abs(exact.value):
            if not self._is_attained() and self._has_flat_rows(w, channel):
                return self._no_optimum(w - self.objective.origin(), exact, 1.0)
            certificate = Certificate(f"{GAP}, {EXACT}", VALUE_ROUNDING)
            return Judgement(certificate, 0.0, exact, "certified", f"{EXACT}: F is the least that the labels allow")
        if self._is_attained() and exact.value - self.labels.floor <= self.tol * self.scale(exact.value):
            value = (exact.value - self.labels.floor) / self.scale(exact.value)
            reason = f"{GAP} {value:.1e} <= {self.tol:g}: F is almost the least that the labels allow"
            return Judgement(Certificate(GAP, value), 0.0, exact, "certified", reason)
        judged = (
            self._by_gap(w, exact, epochs, channel)
            if is_penalised(self.objective)
            else self._by_decrement(w, exact, epochs, channel)
        )
        if judged.ending:
            return judged
        value = judged.certificate.value
        if value <= self.tol and (judged.certificate.kind != DECREMENT or judged.reason):
            return judged._replace(
                ending="certified", reason=f"{judged.certificate.kind} {value:.1e} <= {self.tol:g}"
            )
        return self._exact_to_rounding(w, judged._replace(reason=""), channel)

    def learn(self, w: Model, exact: Evaluation, slopes: NDArray[np.float64], channel: Channel) -> None:
        """Raise the lower bound by slopes of the rows that an algorithm knows; collective."""
        if is_penalised(self.objective):
            bound = bound_of_slopes(self.objective, w, exact, slopes, self.labels, channel)
            self.progress.lower = max(self.progress.lower, bound)

    def glance(self, w: Model, exact: Evaluation) -> Certificate:
        """Return the certificate that costs nothing, and learn nothing; local."""
        scale = self.scale(exact.value)
        if is_penalised(self.objective):
            gap = min(gap_of_gradient(self.objective, w, exact, self.labels), self.lower.above(exact.value))
            return Certificate(GAP, gap / scale)
        estimate = self._standardised(w, exact)
        return Certificate(self._kind(), estimate * (self.progress.ratio or 1.0) / scale)

    def scale(self, value: float) -> float:
        """Return what a gap is relative to: F − floor, or a small part of that at the origin where F reaches it."""
        floor = self.labels.floor
        return max(value - floor, LEAST_SCALE * (self.start.value - floor), TINY)

    def _is_attained(self) -> bool:
        """Return whether an optimum exists for sure: F is piecewise quadratic (Frank, Wolfe 1956), or penalised."""
        loss = self.objective.loss
        return loss.quadratic or loss.jumps or is_penalised(self.objective)

    def _keeps_curvature(self, ranks: int) -> bool:
        """Return whether rounding leaves what a decrement needs of the curvature: of far columns a root does."""
        return self.objective.shard.far is None or is_exchangeable(self.objective, ranks)

    def falls_for_ever(self, exact: Evaluation) -> bool:
        """Return whether every row is on the right side, so that larger weights are always better."""
        right, (l1, l2) = self.objective.loss.right_below, self.objective.penalty.strengths
        if right is None or l1 or l2:
            return False
        return exact.value < right * self.labels.least_share

    def _has_flat_rows(self, w: Model, channel: Channel) -> bool:
        """Return whether the loss of a row no longer bends: it has no least value; collective, one pass."""
        shard = self.objective.shard
        if self.objective.outputs > 1:
            return False
        bend = self.objective.loss.curvature(self.objective.predict(w), shard.label)[shard.weight > 0.0]
        largest, least = channel.max(np.array([bend.max(initial=0.0), -bend.min(initial=np.inf)]))
        return bool(-least < TUNING.flat * largest)

    def _separates(self, w: Model, channel: Channel) -> bool:
        """Return whether the model puts every row on its side without its offset; collective where there are any.

        Larger weights do not make offsets larger. A pass, for a model that puts all rows there with them.
        """
        shard = self.objective.shard
        if not shard.has_offsets:
            return True
        used = shard.weight > 0.0
        margin = labels_of(shard.label)[used] * self.objective.predict(w)[used, 0]
        return bool(channel.max(-margin.min(initial=np.inf))[0] < 0.0)

    def absent_labels(self) -> str:
        """Return in words why no intercept is the best one; "" if there is one."""
        loss, shard = self.objective.loss, self.objective.shard
        if not shard.intercept:
            return ""
        if loss.target == "count" and self.labels.mean_label == 0.0:
            return "all counts are 0"
        return "a class has no weight" if loss.right_below is not None and self.labels.rarest_share == 0.0 else ""

    # ---- With a penalty

    def _by_gap(self, w: Model, exact: Evaluation, epochs: float, channel: Channel) -> Judgement:
        """Bound F − F* by the gradient, by the best lower bound so far, or by a new one; collective."""
        lower, scale = self.lower, self.scale(exact.value)
        gap = min(gap_of_gradient(self.objective, w, exact, self.labels), lower.above(exact.value))
        if gap <= self.tol * scale:
            return Judgement(Certificate(GAP, gap / scale), 0.0, exact)
        bound, cost = lower.raise_if_due(w, exact, self.tol * scale, epochs, channel)
        gap = min(gap, lower.above(exact.value))
        if gap > self.tol * scale and bound is not None and self._is_enough(bound):
            w[...], exact = bound.w, Evaluation(bound.value, bound.gradient)
            gap, scale = lower.above(bound.value), self.scale(bound.value)
        return Judgement(Certificate(GAP, gap / scale), cost, exact)

    def _is_enough(self, bound: DualBound) -> bool:
        """Return whether the model of a bound is certified by the best lower bound."""
        return bool(np.isfinite(bound.value)) and self.lower.above(bound.value) <= self.tol * self.scale(bound.value)

    # ---- Without a penalty

    def _kind(self) -> str:
        """Return the certificate without a penalty: the decrement if the Hessian is known."""
        return DECREMENT if decrement.is_measurable(self.objective) else STANDARDISED

    def _is_small(self) -> bool:
        """Return whether the Hessian can be factored, so that a decrement costs no more than a few epochs."""
        return self.objective.outputs * used_columns(self.objective) <= decrement.LARGEST_HESSIAN

    def _says_gap(self) -> bool:
        """Return whether the certificate comes from a gradient alone, without the Hessian."""
        return is_penalised(self.objective) or self._kind() == STANDARDISED

    def _standardised(self, w: Model, exact: Evaluation) -> float:
        """Return ½ Σ g_j²/H_jj with the curvature at the origin, in units of F."""
        g = np.abs(exact.gradient) + exact.error
        if np.abs(exact.gradient[:, self.bends <= 0.0]).any():
            return np.inf
        return 0.5 * float((g**2 * inverse(self.bends)).sum())

    def _by_decrement(self, w: Model, exact: Evaluation, epochs: float, channel: Channel) -> Judgement:
        """Measure F − F* by the curvature at the model, where that promises to suffice; collective."""
        progress, scale, kind = self.progress, self.scale(exact.value), self._kind()
        rough = self._standardised(w, exact)
        estimate = rough * (progress.ratio or 1.0)
        if kind == STANDARDISED:
            return Judgement(Certificate(kind, rough / scale), 0.0, exact)
        first = not progress.ratio and estimate <= TUNING.first_look * self.tol * scale
        spare = self._is_small() and is_spare(progress, decrement.EPOCHS, epochs)
        if not (first or spare or suffices(estimate, self.tol * scale, progress.tried)):
            return Judgement(Certificate(kind, estimate / scale), 0.0, exact)
        cost = 1.0 if exact.error else 0.0
        if exact.error:
            exact = evaluate_exact(self.objective, w, channel)
        found = decrement.decrement(self.objective, w, exact.gradient, channel)
        cost += found.epochs
        progress.spent += cost
        progress.tried = estimate
        if rough > 0.0 and 0.0 < found.value < np.inf:
            progress.ratio = found.value / rough
        certificate = Certificate(kind, found.value / scale)
        if found.unbounded and found.value <= scale and not self._is_attained():
            return self._no_optimum(found.step, exact, cost)
        believed = found.is_near and self._keeps_curvature(channel.size)
        if believed and found.value <= self.tol * scale:
            after = decrement.contraction(self.objective, w, exact, found, scale, channel, 0.0)
            believed, distance, cost = after.believed, after.distance, cost + after.epochs
            if believed and distance > self.tol * scale:  # the model after the step is nearer
                w += found.step
                exact, distance = after.exact, after.left
            certificate = Certificate(kind, distance / scale)
        if found.may_recede or not believed:
            direction, more = self._recession(w, found.value, exact.value, channel)
            cost += more
            if direction is not None:
                return self._no_optimum(direction, exact, cost)
        return Judgement(certificate, cost, exact, reason="measured" if believed else "")

    def _recession(self, w: Model, small: float, value: float, channel: Channel) -> tuple[Model | None, float]:
        """Return a direction along which the loss falls for ever, if there is one, and the epochs; collective.

        A decrement of `small` may have lost what falls, so that the tolerance is a second guess.
        """
        if self._is_attained() or small > TUNING.first_look * self.tol * self.scale(value):
            return None, 0.0
        if not recession.is_conceivable(self.objective, w, value - self.labels.floor, channel):
            return None, 0.5
        found = recession.direction(self.objective, w, small, channel)
        if found is not None or small > self.tol * self.scale(value):
            return found, recession.EPOCHS
        return recession.direction(self.objective, w, self.tol * self.scale(value), channel), 2.0 * recession.EPOCHS

    def _no_optimum(self, direction: Model, exact: Evaluation, epochs: float) -> Judgement:
        """Return that the loss falls for ever along a direction, with the columns that matter most in it.

        Its infimum is at least the floor, which is all that is certain of it.
        """
        certificate = Certificate(GAP, (exact.value - self.labels.floor) / self.scale(exact.value))
        d = self.objective.shard.features
        size = np.abs(direction[:, :d]).max(axis=0, initial=0.0) * np.sqrt(self.bends[:d])
        largest = np.argsort(-size, kind="stable")[:3]
        columns = tuple(int(j) for j in largest if size[j] > 0.1 * size.max(initial=0.0))
        along = f" as the weights of {list_columns(columns)} grow" if columns else ""
        return Judgement(
            certificate,
            epochs,
            exact,
            "no optimum",
            f"no optimum exists: the loss falls for ever{along}; {ADVICE}",
            columns,
        )

    # ---- Rounding

    def _exact_to_rounding(self, w: Model, judged: Judgement, channel: Channel) -> Judgement:
        """Certify where the certificate no longer falls, because of rounding alone; collective.

        With a weak penalty a gap may be mostly rounding where the decrement is not.
        """
        progress, value = self.progress, judged.certificate.value
        if value < TUNING.halved * progress.best:
            progress.best, progress.waits = value, 0.0
            return judged
        if TUNING.falls * self.scale(judged.exact.value) < progress.fall < np.inf:
            return judged
        progress.waits += 1.0
        doubled = progress.waits >= TUNING.patience and np.log2(progress.waits) % 1.0 == 0.0
        if not doubled or judged.exact.error:
            return judged
        noise = rounding.evaluation_rounding(self.objective, w, channel)
        cost, scale = judged.epochs + rounding.EPOCHS, self.scale(judged.exact.value)
        measured = self._kind() == DECREMENT and self._is_small() and self._keeps_curvature(channel.size)
        measures = [self._gap_with_noise(w, judged, noise.gradient)] if self._says_gap() else []
        if measured:
            found = decrement.decrement(self.objective, w, judged.exact.gradient, channel, by_root=True)
            cost += found.epochs
            if found.may_recede:
                direction, more = self._recession(w, found.value, judged.exact.value, channel)
                cost += more
                if direction is not None:
                    return self._no_optimum(direction, judged.exact, cost)
            if found.is_near:
                size = noise.margins + 0.5 * float(((noise.products * found.noise) ** 2).sum())
                measures.append((DECREMENT, found.value / scale, size))
        for name, value, size in measures:
            # A value that is known to fewer digits than the tolerance asks for is not certified by a small decrement.
            if value <= self._believed() and name == DECREMENT and noise.computed <= self.tol * scale:
                rounded, exact = TUNING.above_noise * size, judged.exact
                after = decrement.contraction(self.objective, w, exact, found, scale, channel, rounded)
                cost, value = cost + after.epochs, after.distance / scale
                if not after.believed or value > self.tol:
                    continue
                certificate = Certificate(name, value)
                return Judgement(certificate, cost, exact, "certified", f"{name} {value:.1e} <= {self.tol:g}")
            size += VALUE_ROUNDING * abs(judged.exact.value)
            if value * scale <= TUNING.above_noise * size and value <= TUNING.near_rounding:
                certificate = Certificate(f"{name}, {EXACT}", value)
                return Judgement(certificate, cost, judged.exact, "certified", f"{EXACT}: {name} {value:.1e}")
        return judged._replace(epochs=cost)

    def _believed(self) -> float:
        """Return the largest decrement that may stand for a gap.

        Where curvature jumps, a decrement says nothing of what lies beyond the next jump; but there Newton's method
        is exact at the end, so that little more than rounding is left.
        """
        return TUNING.exact * self.tol if self.objective.loss.jumps and is_penalised(self.objective) else self.tol

    def _gap_with_noise(self, w: Model, judged: Judgement, noise: Model) -> tuple[str, float, float]:
        """Return kind and value of a certificate from the gradient alone, and what an error of the gradient adds."""
        (kind, value), objective = judged.certificate, self.objective
        if is_penalised(objective):
            return kind, value, gap_of_noise(objective, w, noise, judged.exact.value - self.labels.floor)
        return STANDARDISED, value, 0.5 * float((noise**2 * inverse(self.bends)).sum())


def is_penalised(objective: Objective) -> bool:
    """Return whether the penalty bounds the weights, so that there is a duality gap."""
    return any(objective.penalty.strengths)
