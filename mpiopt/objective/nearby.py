"""Lower bounds of F* at a model, and at better models near it that cost few passes.

The gap at a model of a stochastic method is mostly noise in stiff directions, which hardly changes F. With l1 alone
it is worse: the gap falls as the distance, F as its square. A Newton step mends both. It is taken on the face of the
model: the weights that are not 0 or leave 0, on which l1 is linear (A. S. Lewis, S. J. Wright, A proximal method for
composite minimization, Math. Program. 158 (2016)). Where the Hessian of the face costs too much, quasi-Newton steps
take its place (J. Nocedal, Math. Comp. 35 (1980)).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.channel import Channel
from mpiopt.data.shard import DenseRows
from mpiopt.objective import dual_point, passes
from mpiopt.objective.curvature import used_columns
from mpiopt.objective.decrement import is_measurable
from mpiopt.objective.dual_point import DualBound
from mpiopt.objective.duality_gap import steepest
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.gradient_trail import GradientTrail
from mpiopt.objective.losses.base import LabelStatistics
from mpiopt.objective.objective import Model, Objective
from mpiopt.objective.restriction import Restriction, cost_of_columns, restrict

Vector = NDArray[np.float64]
Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class NearbyTuning:
    """Constants of the steps to nearby models."""

    faces: int = 3  # faces at most, each with a bound: one is enough where the model is near
    newton_steps: int = 3  # on a face at most: they converge quadratically
    trail_steps: int = 6  # quasi-Newton steps at most
    dense_speed: float = 40.0  # multiply-adds of a dense Gram matrix in the time of one number of a pass
    sparse_speed: float = 4.0  # the same for sparse rows: half of the matrix, and a pass multiplies twice
    most_epochs: float = 2.0  # price of a Hessian: with a higher one quasi-Newton steps are cheaper
    most_numbers: float = 8.0  # of a Hessian, for each number of a model: both travel between the ranks
    few_numbers: float = 16384.0  # of a Hessian that travels whatever the model: 128 kB take about a millisecond
    most_copied: float = 0.5  # of all columns: with more a step is cheaper on all of them
    jitter: float = 1e-12  # of the Hessian's diagonal: makes it possible to factor it


TUNING = NearbyTuning()


class BoundOfStep(NamedTuple):
    """A bound at a model, and the epochs that model and bound cost."""

    bound: DualBound
    epochs: float


@dataclass(frozen=True, eq=False)
class Face:
    """The models whose weights have the signs of a given one.

    Parameters
    ----------
    part : Restriction
        The objective there.
    signs : ndarray, shape (outputs, m)
        The sign of each weight; of a weight 0 that of the direction in which F falls.
    share : float
        Epochs of a pass over its columns.
    copying : float
        Epochs that it cost to copy them.
    """

    part: Restriction
    signs: Model
    share: float
    copying: float

    def move(self, w: Model, step: Vector) -> Model:
        """Return w + step; a weight with l1 that would change its sign becomes 0."""
        end = w.copy()
        end[self.part.chosen] += step
        return np.where((self.part.threshold > 0.0) & (end * self.signs <= 0.0), 0.0, end)


@dataclass(frozen=True, eq=False)
class Nearby:
    """The bounds at a model and at better ones near it.

    Parameters
    ----------
    objective : Objective
        This rank's share; its penalty bounds the weights.
    labels : LabelStatistics
        What bounds need to know of labels and rows.
    channel : Channel
        The ranks.
    """

    objective: Objective
    labels: LabelStatistics
    channel: Channel

    def at(self, w: Model) -> BoundOfStep:
        """Bound F* at the model itself; collective."""
        bound = dual_point.bound_from_below(self.objective, w, self.labels, self.channel)
        return BoundOfStep(bound, dual_point.EPOCHS)

    def newton(self, w: Model, exact: Evaluation, small: float) -> Iterator[BoundOfStep]:
        """Yield bounds after Newton steps on the face of the model, then on the face of the next one; collective.

        Nothing is yielded where the Hessian costs too much. `small` is a gain of F that is not worth a step.
        """
        for _ in range(TUNING.faces):
            face = self._face(w, exact.gradient)
            if face is None:
                return
            end, epochs = self._minimise(face, w, exact, small)
            bound, cost = self.at(end)
            yield BoundOfStep(bound, epochs + cost)
            if not bound.value <= exact.value:
                return
            w, exact = bound.w, Evaluation(bound.value, bound.gradient)

    def quasi_newton(self, w: Model, exact: Evaluation, inverse: Vector) -> Iterator[BoundOfStep]:
        """Yield bounds after quasi-Newton steps on the face of the model; collective.

        `inverse` is the inverse curvature of each column.
        """
        signs = _signs(self.objective, w, exact.gradient)
        smooth = self.objective.threshold == 0.0
        trail = GradientTrail(inverse)
        for _ in range(TUNING.trail_steps):
            slope = exact.gradient + self.objective.ridge * w + self.objective.threshold * signs
            trail.add(w, np.where((signs == 0.0) & ~smooth, 0.0, slope))
            end = w + trail.step()
            found = self.at(np.where(smooth | (end * signs > 0.0), end, 0.0))
            yield found
            w, exact = found.bound.w, Evaluation(found.bound.value, found.bound.gradient)

    def _face(self, w: Model, gradient: Model) -> Face | None:
        """Return the face of a model; None where its Hessian costs too much; collective."""
        objective, rows = self.objective, self.objective.shard.rows
        if not is_measurable(objective):
            return None
        signs = _signs(objective, w, gradient)
        used = np.arange(objective.width) < used_columns(objective)
        chosen = ((signs != 0.0) | (objective.threshold == 0.0)) & used
        unknowns = int(np.count_nonzero(chosen))
        if not unknowns or 0.5 * unknowns**2 > max(TUNING.most_numbers * w.size, TUNING.few_numbers):
            return None
        columns = np.flatnonzero(chosen.any(axis=0))
        own = [float(rows.values.size), float(objective.column_counts[columns].sum()), float(len(rows))]
        stored, inside, n = (max(float(v), 1.0) for v in self.channel.sum(np.array(own)))
        dense, whole = isinstance(rows, DenseRows), inside > TUNING.most_copied * stored
        each = unknowns**2 / len(w) / TUNING.dense_speed if dense else (inside / n) ** 2 / TUNING.sparse_speed
        if each * n > TUNING.most_epochs * stored or (whole and objective.width > 2 * len(columns)):
            return None
        if whole:
            part = Restriction(objective, self.channel, np.arange(objective.width), chosen, rows, 0.0)
            return Face(part, signs, 1.0, 0.0)
        part = restrict(objective, self.channel, w, chosen)
        copying = self.channel.sum(cost_of_columns(objective, part) * rows.values.size)[0]
        return Face(part, signs[:, part.columns], inside / stored, float(copying) / stored)

    def _minimise(self, face: Face, w: Model, exact: Evaluation, small: float) -> tuple[Model, float]:
        """Take Newton steps on a face while F falls; return the last model and the epochs; collective.

        On all columns it is one step, which is not evaluated: the bound that follows does that.
        """
        part, epochs, model = face.part, face.copying, w.copy()
        point = part.start(w, exact.value, exact.gradient)
        for _ in range(TUNING.newton_steps):
            g = (part.smooth_gradient(point) + part.threshold * face.signs)[part.chosen]
            step, gain = self._solve(part.curvature(point.margins, 0.0), g)
            epochs += face.share
            end = face.move(point.w, step)
            if part.covers_all:
                model[:, part.columns] = end
                return model, epochs
            if not gain > 0.0:
                break
            found = part.evaluate(end, point.margins + passes.margins(part.rows, end - point.w))
            epochs += face.share
            if not found.value < point.value:
                break
            point = found
            if gain <= small:
                break
        model[:, part.columns] = point.w
        return model, epochs

    def _solve(self, h: NDArray[np.float64], g: Vector) -> tuple[Vector, float]:
        """Return −H⁻¹g and ½ gᵀH⁻¹g as rank 0 finds them; collective."""
        found, gain = np.zeros_like(g), 0.0
        if self.channel.rank == 0 and np.isfinite(h).all() and np.isfinite(g).all():
            h = h + np.diag(TUNING.jitter * np.diag(h))
            try:
                found[:] = -np.linalg.solve(h, g)
                gain = -0.5 * float(g @ found)
            except np.linalg.LinAlgError:
                pass  # no step: the gain is 0
        total = self.channel.sum(found, gain)
        return total[:-1], float(total[-1])


def _signs(objective: Objective, w: Model, gradient: Model) -> Model:
    """Return the sign of each weight, of the weights 0 the direction in which F falls; 0 where it does not."""
    return np.where(w != 0.0, np.sign(w), -np.sign(steepest(objective, w, gradient)))
