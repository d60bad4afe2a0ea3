"""A primal-dual interior-point method for losses whose slope is a clipped line, with l1 and a ridge.

Where curvature jumps, or with l1, Newton's steps may be short for ever: each ends at the next of many corners. Here
slopes are unknowns that stay within their bounds, and the corners are reached all at once. The number of steps hardly
depends on rows, columns and condition (S. Mehrotra, On the implementation of a primal-dual interior point method,
SIAM J. Optim. 2 (1992); S. Wright, Primal-Dual Interior-Point Methods (1997), chapter 10).

With margins z, slopes s in [low, high], and multipliers ρ >= 0 of both bounds, the optimum is where

    Σ_i weight_i s_i x_i + ridge w + linear = 0,   z − centre − s/bend = ρ_high − ρ_low,
    ρ_high (high − s) = 0,   ρ_low (s − low) = 0.

The slope of l1 |w_j| is one of these, with the margin w_j, the bounds ±l1, and 1/bend = 0. Directions come from a QR
factorisation of the rows with the penalty below them, which keeps twice as many digits as the curvature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.objective.centred_columns import CentredColumns
from mpiopt.objective.curvature_root import Ranks, root_of_rows
from mpiopt.objective.losses.base import ClippedLine

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class InteriorPointTuning:
    """Constants of the method."""

    least: int = 2  # steps: where nothing is clipped the second one refines the first
    steps: int = 50  # at most: twice as many as the hardest problem of the fuzzer took
    inside: float = 0.995  # part of the way to the nearest bound that a step may go
    enough: float = 1e-12  # of the first sum of products: what is left at the end
    shortest: float = 1e-8  # step after which rounding ends the work
    halvings: int = 120  # of an interval that holds a first slope
    away: float = 0.1  # of l1: a slope that stays so far from it belongs to a weight that is 0


TUNING = InteriorPointTuning()
STEP_EPOCHS = 3.5  # the factor, two products of the rows with a direction, three of their transpose


class ClippedProblem(NamedTuple):
    """Σ_i weight_i loss_i(x_i·w) + linear·w + ½ Σ ridge_j w_j² + Σ l1_j |w_j| on the rows of this rank.

    Attributes
    ----------
    rows : ndarray, shape (n, d)
        The x_i.
    weight : ndarray, shape (n,)
        At least 0.
    line : ClippedLine
        The slopes of the rows.
    ridge, l1, linear : ndarray, shape (d,)
        The same on all ranks.
    """

    rows: Matrix
    weight: Vector
    line: ClippedLine
    ridge: Vector
    l1: Vector
    linear: Vector


class Minimum(NamedTuple):
    """The minimum, and how many steps led there."""

    w: Vector  # (d,), the same bits on all ranks
    slopes: Vector  # (n,) of this rank's rows; 0 where they have no weight
    steps: int


def minimise(problem: ClippedProblem, w: Vector, level: float, ranks: Ranks) -> Minimum:
    """Minimise, beginning at w; collective.

    `level` is by how much w is thought to be above the minimum, in units of the objective: about the right order of
    magnitude is enough.
    """
    state = _State(problem, w, level, ranks)
    first, steps = state.complementarity(), 0
    while steps < TUNING.least or (steps < TUNING.steps and state.complementarity() > TUNING.enough * first):
        steps += 1
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # near a bound; such a step is refused
            length = state.step()
        if length < TUNING.shortest:
            break
    slopes = np.zeros(len(problem.rows))
    slopes[problem.weight > 0.0] = state.slope[: len(state.rows)]
    return Minimum(state.minimum(), slopes, steps)


class _Moves(NamedTuple):
    """A direction of all unknowns."""

    w: Vector
    slope: Vector
    above: Vector  # ρ_high
    below: Vector  # ρ_low


class _State:
    """The unknowns: slopes of rows and of l1, one after the other, and their distances from the bounds."""

    def __init__(self, problem: ClippedProblem, w: Vector, level: float, ranks: Ranks) -> None:
        self.ranks, self.w = ranks, w.copy()
        used = problem.weight > 0.0
        self.rows, self.ridge, self.linear = problem.rows[used], problem.ridge, problem.linear
        self.penalised = np.flatnonzero(problem.l1 > 0.0)
        self.l1, k = problem.l1[self.penalised], len(self.penalised)
        self.own = ranks.rank == 0  # whose sums have l1's part, which is the same on all ranks
        line, zeros = problem.line, np.zeros(k)
        self.weight = np.append(problem.weight[used], np.ones(k))
        self.counts = np.append(problem.weight[used], np.full(k, float(self.own)))
        self.inverse_bend = np.append(1.0 / np.broadcast_to(line.bend, len(used))[used], zeros)
        self.centre = np.append(line.centre[used], zeros)
        low, high = np.append(line.low[used], -self.l1), np.append(line.high[used], self.l1)
        self.has_low, self.has_high = np.isfinite(low), np.isfinite(high)
        target = np.append(np.full(len(self.rows), level), np.full(k, level / max(k, 1)))
        self.slope = _central(self.margins(w) - self.centre, self.inverse_bend, low, high, target)
        self.to_high = np.where(self.has_high, high - self.slope, 1.0)
        self.to_low = np.where(self.has_low, self.slope - low, 1.0)
        self.above = np.where(self.has_high, target / self.to_high, 0.0)
        self.below = np.where(self.has_low, target / self.to_low, 0.0)
        self.bounds = float(ranks.sum(float(self.counts @ self.has_high + self.counts @ self.has_low))[0])

    def margins(self, w: Vector) -> Vector:
        """Return the margins of the rows and of l1."""
        return np.append(self.rows @ w, w[self.penalised])

    def transposed(self, numbers: Vector) -> Vector:
        """Return Σ weight_i number_i x_i over all ranks, (d,); collective."""
        n = len(self.rows)
        total = np.array(self.ranks.sum((self.weight[:n] * numbers[:n]) @ self.rows))
        total[self.penalised] += numbers[n:]
        return total

    def complementarity(self) -> float:
        """Return the sum of the products ρ (distance from the bound); collective."""
        products = self.above * self.to_high * self.has_high + self.below * self.to_low * self.has_low
        return float(self.ranks.sum(float(self.counts @ products))[0])

    def step(self) -> float:
        """Take a predictor and a corrector with one factor; return the step length; collective."""
        n, d = len(self.rows), len(self.w)
        curvature = 1.0 / (self.inverse_bend + self.above / self.to_high + self.below / self.to_low)
        stiff = self.ridge + np.bincount(self.penalised, curvature[n:], d)
        root = root_of_rows(self.rows, self.weight[:n] * curvature[:n], stiff, self.ranks)
        slack = self.margins(self.w) - self.centre - self.slope * self.inverse_bend - self.above + self.below
        rest = self.transposed(self.slope) + self.ridge * self.w + self.linear

        def solve(high: Vector, low: Vector) -> _Moves:
            e = slack - high / self.to_high + low / self.to_low
            w = self.ranks.of_root(-root.solve(rest + self.transposed(curvature * e)))
            slope = curvature * (self.margins(w) + e)
            above = np.where(self.has_high, (high + self.above * slope) / self.to_high, 0.0)
            return _Moves(w, slope, above, np.where(self.has_low, (low - self.below * slope) / self.to_low, 0.0))

        now = self.complementarity()
        high, low = self.has_high * -self.above * self.to_high, self.has_low * -self.below * self.to_low
        predictor = solve(high, low)
        if now > 0.0:
            length = min(1.0, self._longest(predictor))
            after = (
                (self.above + length * predictor.above) * (self.to_high - length * predictor.slope) * self.has_high
            )
            after += (self.below + length * predictor.below) * (self.to_low + length * predictor.slope) * self.has_low
            left = max(float(self.ranks.sum(float(self.counts @ after))[0]) / now, 0.0)
            aim = left**3 * now / self.bounds
            moves = solve(
                self.has_high * (high + aim + predictor.above * predictor.slope),
                self.has_low * (low + aim - predictor.below * predictor.slope),
            )
        else:  # nothing is clipped
            moves = predictor
        length = min(1.0, TUNING.inside * self._longest(moves))
        wild = not all(np.isfinite(part).all() for part in moves)
        if not np.isfinite(length) or self.ranks.max(float(wild))[0]:
            return 0.0
        self.w, self.slope = self.w + length * moves.w, self.slope + length * moves.slope
        self.above, self.below = self.above + length * moves.above, self.below + length * moves.below
        self.to_high = np.where(self.has_high, self.to_high - length * moves.slope, 1.0)
        self.to_low = np.where(self.has_low, self.to_low + length * moves.slope, 1.0)
        return length

    def _longest(self, moves: _Moves) -> float:
        """Return the longest step within all bounds; collective."""
        shrinking = (
            (self.to_high, np.where(self.has_high, -moves.slope, 0.0)),
            (self.to_low, np.where(self.has_low, moves.slope, 0.0)),
            (self.above, moves.above),
            (self.below, moves.below),
        )
        speed = max(float((-by[by < 0.0] / size[by < 0.0]).max(initial=0.0)) for size, by in shrinking)
        speed = float(self.ranks.max(speed)[0])
        return 1.0 / speed if speed > 0.0 else np.inf

    def minimum(self) -> Vector:
        """Return the weights; those whose slope stays away from the bounds of l1 are 0."""
        n, w = len(self.rows), self.w.copy()
        away = np.minimum(self.to_high[n:], self.to_low[n:]) > TUNING.away * self.l1
        w[self.penalised] = np.where(away, 0.0, w[self.penalised])
        return w


def _central(z: Vector, inverse_bend: Vector, low: Vector, high: Vector, target: Vector) -> Vector:
    """Return s with z − s/bend = target/(high − s) − target/(s − low), by bisection; z is margin − centre."""
    bent = inverse_bend > 0.0
    free = np.divide(z, inverse_bend, out=np.zeros_like(z), where=bent)
    reach = np.sqrt(np.divide(target, inverse_bend, out=np.zeros_like(z), where=bent))
    left = np.where(np.isfinite(low), low, np.minimum(free, high) - reach)
    right = np.where(np.isfinite(high), high, np.maximum(free, low) + reach)
    none = np.full_like(z, np.inf)
    for _ in range(TUNING.halvings):
        s = 0.5 * left + 0.5 * right
        above = np.divide(target, high - s, out=none.copy(), where=high > s)
        below = np.divide(target, s - low, out=none.copy(), where=s > low)
        up = z - s * inverse_bend - above + below > 0.0
        left, right = np.where(up, s, left), np.where(up, right, s)
    return np.asarray(0.5 * left + 0.5 * right)


def in_centred_columns(
    problem: ClippedProblem, centred: CentredColumns, distances: Matrix, first: bool
) -> ClippedProblem:
    """Return a problem in the unknowns of centred columns; rank 0, the `first`, has the rows of w_k's penalty."""
    n, k = len(problem.rows), centred.k
    kinds = [(problem.ridge[k], np.inf), (np.inf, problem.l1[k])]  # bend and bound
    kinds = [(bend, bound) for bend, bound in kinds if first and bend > 0.0 and bound > 0.0]
    bends, bounds = (np.array([kind[i] for kind in kinds]) for i in range(2))
    line = problem.line._replace(
        bend=np.append(np.broadcast_to(problem.line.bend, n), bends),
        centre=np.append(problem.line.centre, 0.0 * bounds.astype(bool)),
        low=np.append(problem.line.low, -bounds),
        high=np.append(problem.line.high, bounds),
    )
    rows = np.vstack([centred.rows(distances), *([centred.own] * len(kinds))])
    weight, free = np.append(problem.weight, np.ones(len(kinds))), np.arange(len(centred.far)) != k
    return ClippedProblem(rows, weight, line, problem.ridge * free, problem.l1 * free, problem.linear)
